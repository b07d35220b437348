package devbroker

import (
	"errors"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

var errNoRoom = errors.New("there is no room for more retained messages: mqtt_broker.limits.max_retained_bytes")

// weights are the bytes of what is kept: of retained messages together, and of the messages in each session. What is not limited
// is not counted, so that it costs nothing.
type weights struct {
	maxRetained, maxSession int64

	mu            sync.Mutex
	retained      map[string]int64            // by name inside
	retainedBytes int64                       // all of them
	sessions      map[string]map[uint16]int64 // client ID -> packet ID -> bytes
	sessionBytes  map[string]int64            // client ID -> all of its
	allSessions   int64                       // of all of them
}

func newWeights(l Limits) *weights {
	return &weights{
		maxRetained: l.RetainedBytes, maxSession: l.SessionBytes,
		retained: map[string]int64{}, sessions: map[string]map[uint16]int64{}, sessionBytes: map[string]int64{},
	}
}

// weight is what counts of a message: what its publisher has chosen.
func weight(pk *packets.Packet) int64 {
	p := &pk.Properties
	n := len(pk.TopicName) + len(pk.Payload) + len(p.ContentType) + len(p.ResponseTopic) + len(p.CorrelationData)
	for _, u := range p.User {
		n += len(u.Key) + len(u.Val)
	}
	return int64(n)
}

// hasRoom reports whether a message may be retained by some names. What it replaces makes room.
func (w *weights) hasRoom(names []string, pk packets.Packet) bool {
	if w.maxRetained == 0 || len(pk.Payload) == 0 {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.retainedBytes
	for _, name := range names {
		pk.TopicName = name
		all += weight(&pk) - w.retained[name]
	}
	return all <= w.maxRetained
}

// retain notes a message that is retained, or, if it is empty, is not any more.
func (w *weights) retain(pk *packets.Packet) {
	if w.maxRetained == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retainedBytes -= w.retained[pk.TopicName]
	delete(w.retained, pk.TopicName)
	if len(pk.Payload) > 0 {
		w.retained[pk.TopicName] = weight(pk)
		w.retainedBytes += w.retained[pk.TopicName]
	}
}

// take notes a message that goes into a session, and returns false if there is no room.
func (w *weights) take(clientID string, pk *packets.Packet) bool {
	if w.maxSession == 0 {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sessionBytes[clientID]+weight(pk) > w.maxSession {
		return false
	}
	w.put(clientID, pk)
	return true
}

// restore notes a message of a session from before the start, whatever the limit is now.
func (w *weights) restore(clientID string, pk *packets.Packet) {
	if w.maxSession == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.put(clientID, pk)
}

// put notes a message. The caller must hold mu.
func (w *weights) put(clientID string, pk *packets.Packet) {
	if w.sessions[clientID] == nil {
		w.sessions[clientID] = map[uint16]int64{}
	}
	n := weight(pk)
	w.change(clientID, n-w.sessions[clientID][pk.PacketID])
	w.sessions[clientID][pk.PacketID] = n
}

// remove notes that a message has left its session.
func (w *weights) remove(clientID string, packetID uint16) {
	if w.maxSession == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.change(clientID, -w.sessions[clientID][packetID])
	if delete(w.sessions[clientID], packetID); len(w.sessions[clientID]) == 0 {
		delete(w.sessions, clientID)
	}
}

// forget notes that a session has ended.
func (w *weights) forget(clientID string) {
	if w.maxSession == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.change(clientID, -w.sessionBytes[clientID])
	delete(w.sessions, clientID)
}

// change counts bytes of a session. The caller must hold mu.
func (w *weights) change(clientID string, by int64) {
	w.allSessions += by
	if w.sessionBytes[clientID] += by; w.sessionBytes[clientID] == 0 {
		delete(w.sessionBytes, clientID)
	}
}

// all are the bytes of retained messages, and of all sessions.
func (w *weights) all() (retained, sessions int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.retainedBytes, w.allSessions
}

// OnQosDropped comes when a message leaves a session otherwise than by its acknowledgement, or the session moves to another
// connection.
func (h *hook) OnQosDropped(cl *mqtt.Client, pk packets.Packet) {
	if !cl.IsTakenOver() {
		h.weights.remove(cl.ID, pk.PacketID)
	}
}

// OnRetainedExpired comes when mochi has forgotten a retained message.
func (h *hook) OnRetainedExpired(topic string) {
	h.weights.retain(&packets.Packet{TopicName: topic})
}

// refuseKept answers a message that cannot be kept, if its publisher can be told. Else it goes to those who subscribe now, and is
// taken for delivered.
func (h *hook) refuseKept(cl *mqtt.Client, pk *packets.Packet) bool {
	h.reportRefusal(cl, "did not keep an MQTT message", errNoRoom)
	if cl.Properties.ProtocolVersion < 5 || pk.FixedHeader.Qos == 0 {
		return false
	}
	if pk.FixedHeader.Qos == 2 {
		h.release(cl, pk.PacketID) // no PUBREL follows (MQTT 5.0, 4.3.3)
	}
	h.acknowledge(cl, pk, packets.ErrQuotaExceeded)
	return true
}
