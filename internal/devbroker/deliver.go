package devbroker

import (
	"bytes"
	"slices"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A message goes to its subscribers from here. mochi v2.7.9 would do it through a channel for each connection that has room for
// all that may wait, half a megabyte, and through a goroutine that writes message by message. Here it is encoded where it comes
// from, into what the connection writes next, and waits in a list only if the connection does not take it now.
//
// A packet of mochi's has nearly a kilobyte. So it goes by pointer here: each copy on the way down would be on the stack of every
// connection.

// deliver hands a message to all who subscribe to a topic, which is a name inside. With QoS > 0, the caller must hold takeover
// for reading.
func (h *hook) deliver(topic string, pk *packets.Packet) {
	subscribers := h.server.Topics.Subscribers(topic)
	h.share(subscribers)
	for id, sub := range subscribers.Subscriptions {
		if cl, ok := h.server.Clients.Get(id); ok {
			h.deliverTo(cl, &sub, topic, pk)
		}
	}
}

// deliverTo hands a message to one subscriber, or to its session.
func (h *hook) deliverTo(cl *mqtt.Client, sub *packets.Subscription, topic string, pk *packets.Packet) {
	if sub.NoLocal && pk.Origin == cl.ID { // [MQTT-3.8.3-3]
		return
	}
	out := *pk
	out.TopicName, out.Mods, out.FixedHeader.Dup = topic, packets.Mods{}, false
	out.FixedHeader.Qos = min(pk.FixedHeader.Qos, sub.Qos)
	out.FixedHeader.Retain = pk.FixedHeader.Retain &&
		(sub.FwdRetainedFlag || sub.RetainAsPublished && cl.Properties.ProtocolVersion >= 5) // [MQTT-3.3.1-12]
	out.Properties.SubscriptionIdentifier = identifiers(sub)
	var c *conn
	if connected(cl) {
		c = connOf(cl)
		if why := h.tooLargeFor(cl, &out); why != nil {
			h.reportRefusal(cl, messageTooLarge, why)
			return
		}
	}
	if out.FixedHeader.Qos > 0 && !h.number(cl, &out) {
		atomic.AddInt64(&h.server.Info.InflightDropped, 1)
		return
	}
	switch {
	case c != nil:
		if !c.deliver(h, cl, &out) {
			atomic.AddInt64(&h.server.Info.MessagesDropped, 1)
			h.discard(cl, out)
		}
	case out.FixedHeader.Qos > 0:
		cl.State.Inflight.Set(out)
	}
}

// connected reports whether a session has a connection. One from disk has none yet.
func connected(cl *mqtt.Client) bool { return cl.Net.Conn != nil && !cl.Closed() }

// identifiers are those of the subscriptions by which a message comes [MQTT-3.3.4-3].
func identifiers(sub *packets.Subscription) (ids []int) {
	for _, id := range sub.Identifiers {
		if id > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// number gives a message a packet ID and its place in the session of a subscriber, and writes it to disk if the session is
// there. It returns false if there is no room. The caller puts it into the session.
func (h *hook) number(cl *mqtt.Client, pk *packets.Packet) bool {
	if cl.State.Inflight.Len() >= int(h.server.Options.Capabilities.MaximumInflight) {
		h.counters.dropped.add(bySessionFull)
		return false
	}
	id, err := cl.NextPacketID()
	if err != nil {
		h.counters.dropped.add(bySessionFull)
		return false
	}
	pk.PacketID = uint16(id)
	if !h.weights.take(cl.ID, pk) {
		h.counters.dropped.add(bySessionBytes)
		return false
	}
	pk.Created = h.lastPlace()
	atomic.AddInt64(&h.server.Info.Inflight, 1)
	if h.store != nil {
		h.store.OnQosPublish(cl, *pk, pk.Created, 0)
	}
	return true
}

// tooLargeFor tells that a client does not take a message, as the client gets it.
func (h *hook) tooLargeFor(cl *mqtt.Client, pk *packets.Packet) error {
	if cl.Properties.Props.MaximumPacketSize == 0 {
		return nil
	}
	out := *pk
	h.address(cl, &out)
	return tooLarge(cl, &out)
}

// address makes a message what its subscriber gets.
func (h *hook) address(cl *mqtt.Client, pk *packets.Packet) {
	pk.TopicName = h.outside(pk.TopicName)
	pk.ProtocolVersion = cl.Properties.ProtocolVersion
	pk.Mods = packets.Mods{AllowResponseInfo: true}
	if pk.Expiry > 0 { // [MQTT-3.3.2-6]
		pk.Properties.MessageExpiryInterval = uint32(max(1, pk.Expiry-time.Now().Unix()))
	}
}

// encode appends a message to b, and spoils it.
func (h *hook) encode(b []byte, cl *mqtt.Client, pk *packets.Packet) []byte {
	h.address(cl, pk)
	buf := bytes.NewBuffer(b)
	_ = pk.PublishEncode(buf) // it has a packet ID
	info := h.server.Info
	atomic.AddInt64(&info.BytesSent, int64(buf.Len()-len(b)))
	atomic.AddInt64(&info.PacketsSent, 1)
	atomic.AddInt64(&info.MessagesSent, 1)
	return buf.Bytes()
}

// waiting is a message that a connection does not take yet.
type waiting struct {
	h  *hook
	cl *mqtt.Client
	pk packets.Packet
}

// deliver writes a message, now or when what is before it has gone, and puts it into the session if it is of QoS 1 or 2. It
// returns false if too many wait already.
func (c *conn) deliver(h *hook, cl *mqtt.Client, pk *packets.Packet) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := len(c.waiting) == 0 && c.takes(pk.FixedHeader.Qos)
	if pk.FixedHeader.Qos > 0 {
		pk.FixedHeader.Dup = now // of the one in the session, which is sent again
		cl.State.Inflight.Set(*pk)
		pk.FixedHeader.Dup = false
	}
	switch {
	case now:
		c.put(h, cl, pk)
		c.changed.Broadcast()
	case c.gone(): // its session has it, if there is one
	case len(c.waiting) < int(h.server.Options.Capabilities.MaximumInflight) && c.fleeting+fleeting(pk) <= maxFleetingBytes:
		c.fleeting += fleeting(pk)
		c.waiting = append(c.waiting, &waiting{h: h, cl: cl, pk: *pk})
	default:
		return false
	}
	return true
}

// fleeting is how many bytes are kept for nothing but that a message waits.
func fleeting(pk *packets.Packet) int {
	if pk.FixedHeader.Qos > 0 || pk.FixedHeader.Retain {
		return 0
	}
	return len(pk.Payload)
}

// fill puts what waits into the queue, as far as the connection takes it now. The caller must hold mu.
func (c *conn) fill() {
	n := 0
	for n < len(c.waiting) && c.takes(c.waiting[n].pk.FixedHeader.Qos) {
		w := c.waiting[n]
		c.waiting[n] = nil
		c.fleeting -= fleeting(&w.pk)
		n++
		if w.pk.Expiry > 0 && w.pk.Expiry < time.Now().Unix() { // [MQTT-3.3.2-5]
			continue // mochi takes it out of the session
		}
		if w.pk.FixedHeader.Qos > 0 {
			if pk, there := w.cl.State.Inflight.Get(w.pk.PacketID); !there || pk.Created != w.pk.Created {
				continue // it has expired, and its packet ID may be another's
			}
			markSent(w.cl, w.pk.PacketID)
		}
		c.put(w.h, w.cl, &w.pk)
	}
	if c.waiting = c.waiting[n:]; len(c.waiting) == 0 {
		c.waiting = nil
	}
}

// takes reports whether a message of a QoS may follow what is queued: not before what the session held, not after a goodbye,
// and not beyond the client's Receive Maximum. The caller must hold mu.
func (c *conn) takes(qos byte) bool {
	return c.flowing && !c.leaving && !c.gone() && len(c.queue) < queueBytes && (qos == 0 || c.most == 0 || c.window > 0)
}

// put encodes a message into the queue. The caller must hold mu.
func (c *conn) put(h *hook, cl *mqtt.Client, pk *packets.Packet) {
	if pk.FixedHeader.Qos > 0 {
		c.window--
	}
	c.queue = h.encode(c.queue, cl, pk)
}
