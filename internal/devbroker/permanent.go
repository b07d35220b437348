package devbroker

import (
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

// kept is by which names there are kept messages, to know them when a name goes: each is a retained message of its own to
// mochi. The file has them by their first names alone.
type kept struct {
	mu    sync.Mutex
	names map[string]map[string][]string // ID of whose topic it is -> first name inside -> all names
}

// set notes the names of a message; none: it is not kept. The caller must hold mu.
func (k *kept) set(id, first string, names []string) {
	if len(names) == 0 {
		if delete(k.names[id], first); len(k.names[id]) == 0 {
			delete(k.names, id)
		}
		return
	}
	if k.names[id] == nil {
		if k.names == nil {
			k.names = map[string]map[string][]string{}
		}
		k.names[id] = map[string][]string{}
	}
	k.names[id][first] = names
}

// keepIfAsked keeps a message of a permanent topic, or one that its publisher wants to be retained. It returns false if there is
// no room.
func (h *hook) keepIfAsked(cl *mqtt.Client, r route, pk *packets.Packet) (room bool) {
	room = true
	switch {
	case r.permanent || pk.FixedHeader.Retain && h.directory != nil && connOf(cl).principal.Role != registry.BrokerRole:
		room = h.keep(cl.ID, r.topics[0], *pk)
		pk.FixedHeader.Retain = false
	case pk.FixedHeader.Retain:
		room = h.retain(r.topics[0], *pk)
	}
	if !room {
		h.counters.messages.add(byRetainedBytes)
	}
	return room
}

// setRetained keeps a message by one name, or ends the keeping. The caller must hold kept.mu, once the broker runs.
func (h *hook) setRetained(pk packets.Packet) {
	h.server.Topics.RetainMessage(pk)
	h.weights.retain(&pk)
}

// keep makes a message the last of its topic, by all the names that it has now. It is a retained message to mochi, but on a
// permanent topic its publisher need not ask, and who is subscribed already gets it as any other. An empty one ends the
// keeping, as in MQTT. It returns false if there is no room: the one before stays.
func (h *hook) keep(origin, first string, pk packets.Packet) bool {
	h.kept.mu.Lock()
	defer h.kept.mu.Unlock()
	id, names := namesOf(h.directory, first)
	if len(names) == 0 {
		return true // it was removed meanwhile
	}
	if !h.weights.hasRoom(names, pk) {
		return false
	}
	for i, name := range names {
		kept := pk.Copy(false)
		kept.TopicName = name
		kept.FixedHeader.Retain = true
		kept.Origin = origin
		kept.Created = time.Now().Unix()
		h.setRetained(kept)
		if i == 0 && h.store != nil {
			h.store.OnRetainMessage(nil, kept, 0)
		}
	}
	if len(pk.Payload) == 0 {
		names = nil
	}
	h.kept.set(id, first, names)
	h.countKept()
	return true
}

// retain keeps a message by the one name that it has: there are no registries, or it is a broker's. It
// returns false if there is no room: the one before stays.
func (h *hook) retain(topic string, pk packets.Packet) bool {
	h.kept.mu.Lock()
	defer h.kept.mu.Unlock()
	if !h.weights.hasRoom([]string{topic}, pk) {
		return false
	}
	if h.directory != nil {
		id, names := namesOf(h.directory, topic)
		if len(names) == 0 {
			return true // it was removed meanwhile
		}
		if len(pk.Payload) == 0 {
			names = nil
		}
		h.kept.set(id, topic, names)
	}
	kept := pk.Copy(false)
	kept.TopicName = topic
	h.setRetained(kept)
	if h.store != nil {
		h.store.OnRetainMessage(nil, kept, 0)
	}
	h.countKept()
	return true
}

// retained are the messages that are kept on topics of a filter. mochi v2.7.9 looks for them without a lock on what keeping one
// changes.
func (h *hook) retained(filter string) []packets.Packet {
	h.kept.mu.Lock()
	defer h.kept.mu.Unlock()
	return h.server.Topics.Messages(filter)
}

func (h *hook) countKept() {
	atomic.StoreInt64(&h.server.Info.Retained, int64(h.server.Topics.Retained.Len()))
}
