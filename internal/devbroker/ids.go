package devbroker

import (
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// Client and server number their packets each on its own [MQTT-2.3.1]: an ID of one says nothing about the same ID of the
// other. mochi v2.7.9 keeps both in one table, where a client's publish would delete what is being delivered to it, and its
// SUBSCRIBE be refused. So mochi sees no ID that a client has chosen: it is taken off a packet before mochi has it, and put
// on the answer. The table is for deliveries alone, and what the other direction has to remember is in received.

// inbound is the packet that is being read from a client, which is one at a time, until it is answered.
type inbound struct {
	id       uint16 // what the client calls it
	qos      byte
	route    route  // of a PUBLISH; empty if it has a topic alias, or is refused
	refused  error  // why a PUBLISH goes nowhere
	released bool   // it is the PUBREL of a message that has been received
	codes    []byte // of the UNSUBACK
}

// OnPacketRead takes the client's ID off a packet.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	c.in = inbound{id: pk.PacketID, qos: pk.FixedHeader.Qos}
	if pk.FixedHeader.Type != packets.Puback && pk.FixedHeader.Type != packets.Pubcomp { // they are the last of their messages
		c.asking.Store(true)
	}
	switch pk.FixedHeader.Type {
	case packets.Connect:
		return c.admit(pk)
	case packets.Publish:
		if h.limits.MessageRate > 0 {
			h.slow(cl)
		}
		if err := iotcore.ValidateLevels(pk.TopicName); err != nil {
			h.counters.messages.add(byTopic)
			sayGoodbye(cl, packets.ErrTopicNameInvalid)
			return pk, c.abandon(err)
		}
		if pk.TopicName != "" { // else there is an alias, which mochi resolves later
			c.in.route, c.in.refused = h.route(cl, pk.TopicName)
			pk.TopicName = plainMark + pk.TopicName // or mochi would swallow $SYS and $share, without an acknowledgement
		}
		if c.in.refused != nil {
			return pk, nil // mochi answers, and does not look at its table
		}
	case packets.Disconnect:
		if cl.Properties.ProtocolVersion >= 5 && pk.FixedHeader.Remaining == 1 {
			pk.ReasonCode = c.lastRead // mochi v2.7.9 overlooks it; nothing comes after a DISCONNECT [MQTT-3.14.4-2]
		}
		return pk, nil
	case packets.Pubrel:
		c.in.released = h.release(cl, pk.PacketID)
	case packets.Subscribe, packets.Unsubscribe:
	default:
		if endsDelivery(pk) {
			c.widen()
			if _, there := cl.State.Inflight.Get(pk.PacketID); there { // before mochi frees its ID for the next message
				h.weights.remove(cl.ID, pk.PacketID)
				if h.store != nil {
					h.store.OnQosComplete(cl, pk)
				}
			}
		}
		return pk, nil
	}
	if pk.PacketID > 0 { // else mochi says that there must be one
		pk.PacketID, pk.FixedHeader.Qos = 0, 0
	}
	return pk, nil
}

// endsDelivery reports whether a packet makes room for another delivery (MQTT 5.0 section 4.9).
func endsDelivery(pk packets.Packet) bool {
	switch pk.FixedHeader.Type {
	case packets.Puback, packets.Pubcomp:
		return true
	case packets.Pubrec:
		return pk.ReasonCode >= packets.ErrUnspecifiedError.Code
	}
	return false
}

// answer puts the client's ID on mochi's answer to what OnPacketRead took it off.
func answer(c *conn, pk packets.Packet) packets.Packet {
	switch pk.FixedHeader.Type {
	case packets.Pubcomp:
		if c.in.released {
			pk.ReasonCode, pk.Properties.ReasonString = packets.CodeSuccess.Code, ""
		}
		pk.PacketID = c.in.id
	case packets.Suback:
		pk.PacketID = c.in.id
	case packets.Unsuback:
		pk.PacketID, pk.ReasonCodes = c.in.id, c.in.codes
	}
	return pk
}

// received is which QoS 2 messages clients have published and not released: if they come again, they have been handed out
// already [MQTT-4.3.3-2]. It belongs to the sessions, by client ID.
type received struct {
	mu  sync.Mutex
	ids map[string]map[uint16]struct{}
}

// add returns false if the ID is there.
func (r *received) add(clientID string, id uint16) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.ids[clientID][id]; ok {
		return false
	}
	if r.ids == nil {
		r.ids = map[string]map[uint16]struct{}{}
	}
	if r.ids[clientID] == nil {
		r.ids[clientID] = map[uint16]struct{}{}
	}
	r.ids[clientID][id] = struct{}{}
	return true
}

// remove returns false if the ID is not there.
func (r *received) remove(clientID string, id uint16) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.ids[clientID][id]
	if delete(r.ids[clientID], id); len(r.ids[clientID]) == 0 {
		delete(r.ids, clientID)
	}
	return ok
}

// forget ends a session.
func (r *received) forget(clientID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ids, clientID)
}

// release notes that the client knows that its message has been received, and returns false if it has not been.
func (h *hook) release(cl *mqtt.Client, id uint16) bool {
	if !h.received.remove(cl.ID, id) {
		return false
	}
	if h.store != nil {
		h.store.released(cl, id)
		connOf(cl).unsynced.Store(true) // or the next message of this ID would be taken for this one after a crash
	}
	return true
}

// forgetReceived begins a session.
func (h *hook) forgetReceived(cl *mqtt.Client) {
	h.received.forget(cl.ID)
	if h.store != nil {
		h.store.forgetReceived(cl)
	}
}

// markSent notes that a message of a session is about to be sent, and reports whether it was before: only then does it have
// DUP [MQTT-3.3.1-1].
func markSent(cl *mqtt.Client, id uint16) (before bool) {
	pk, ok := cl.State.Inflight.Get(id)
	if !ok || pk.FixedHeader.Dup {
		return ok
	}
	pk.FixedHeader.Dup = true
	cl.State.Inflight.Set(pk)
	return false
}
