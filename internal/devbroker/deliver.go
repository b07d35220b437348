package devbroker

import (
	"bytes"
	"math"
	"slices"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A message goes to its subscribers from here. mochi v2.7.9 would do it through a channel for each connection that has room for
// all that may wait, half a megabyte, and through a goroutine that writes message by message. Here it is encoded where it comes
// from, into what the connection writes next, and waits in a list only if the connection does not take it now.

// deliver hands a message to all who subscribe to a topic, which is a name inside. With QoS > 0, the caller must hold takeover
// for reading.
func (h *hook) deliver(topic string, pk packets.Packet) {
	pk.TopicName = topic
	pk.Mods = packets.Mods{}
	if pk.Created == 0 {
		pk.Created = time.Now().Unix()
	}
	subscribers := h.server.Topics.Subscribers(topic)
	if len(subscribers.Shared) > 0 {
		subscribers.SelectShared()
		subscribers.MergeSharedSelected()
	}
	for id, sub := range subscribers.Subscriptions {
		if cl, ok := h.server.Clients.Get(id); ok {
			h.deliverTo(cl, sub, pk)
		}
	}
}

// deliverTo hands a message to one subscriber, or to its session.
func (h *hook) deliverTo(cl *mqtt.Client, sub packets.Subscription, pk packets.Packet) {
	if sub.NoLocal && pk.Origin == cl.ID { // [MQTT-3.8.3-3]
		return
	}
	if !sub.FwdRetainedFlag && (cl.Properties.ProtocolVersion < 5 || !sub.RetainAsPublished) { // [MQTT-3.3.1-12]
		pk.FixedHeader.Retain = false
	}
	pk.FixedHeader.Dup = false
	pk.FixedHeader.Qos = min(pk.FixedHeader.Qos, sub.Qos)
	pk.Properties.SubscriptionIdentifier = identifiers(sub)
	var c *conn
	if cl.Net.Conn != nil && !cl.Closed() {
		c = connOf(cl)
	}
	if c != nil {
		out := h.outgoing(cl, pk)
		if why := tooLarge(cl, &out); why != nil {
			h.reportRefusal(cl, "an MQTT message was not delivered", why)
			return
		}
	}
	if pk.FixedHeader.Qos > 0 && !h.hold(cl, &pk) {
		atomic.AddInt64(&h.server.Info.InflightDropped, 1)
		return
	}
	if c != nil && !c.deliver(h, cl, pk) {
		atomic.AddInt64(&h.server.Info.MessagesDropped, 1)
		h.discard(cl, pk)
	}
}

// identifiers are those of the subscriptions by which a message comes [MQTT-3.3.4-3].
func identifiers(sub packets.Subscription) (ids []int) {
	for _, id := range sub.Identifiers {
		if id > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// hold puts a message into the session of a subscriber, with a packet ID. It returns false if there is no room.
func (h *hook) hold(cl *mqtt.Client, pk *packets.Packet) bool {
	if cl.State.Inflight.Len() >= int(h.server.Options.Capabilities.MaximumInflight) {
		return false
	}
	id, err := cl.NextPacketID()
	if err != nil {
		return false
	}
	pk.PacketID = uint16(id)
	pk.Created = math.MaxUint16 + h.stored.Add(1) // above all that renumber gives
	cl.State.Inflight.Set(*pk)
	atomic.AddInt64(&h.server.Info.Inflight, 1)
	if h.store != nil {
		h.store.OnQosPublish(cl, *pk, pk.Created, 0)
	}
	return true
}

// outgoing is a message as its subscriber gets it.
func (h *hook) outgoing(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	pk.TopicName = h.outside(pk.TopicName)
	pk.ProtocolVersion = cl.Properties.ProtocolVersion
	pk.Mods = packets.Mods{AllowResponseInfo: true}
	if pk.Expiry > 0 { // [MQTT-3.3.2-6]
		pk.Properties.MessageExpiryInterval = uint32(max(1, pk.Expiry-time.Now().Unix()))
	}
	return pk
}

// encode appends a message to b.
func (h *hook) encode(b []byte, cl *mqtt.Client, pk packets.Packet) []byte {
	if pk.FixedHeader.Qos > 0 {
		pk.FixedHeader.Dup = markSent(cl, pk.PacketID)
	}
	out := h.outgoing(cl, pk)
	buf := bytes.NewBuffer(b)
	_ = out.PublishEncode(buf) // it has a packet ID
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

// deliver writes a message, now or when what is before it has gone. It returns false if too many wait already.
func (c *conn) deliver(h *hook, cl *mqtt.Client, pk packets.Packet) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone(): // its session has it, if there is one
	case len(c.waiting) == 0 && c.takes(pk):
		c.put(h, cl, pk)
		c.changed.Broadcast()
	case len(c.waiting) < int(h.server.Options.Capabilities.MaximumInflight):
		c.waiting = append(c.waiting, &waiting{h: h, cl: cl, pk: pk})
	default:
		return false
	}
	return true
}

// fill puts what waits into the queue, as far as the connection takes it now. The caller must hold mu.
func (c *conn) fill() {
	n := 0
	for n < len(c.waiting) && c.takes(c.waiting[n].pk) {
		w := c.waiting[n]
		c.waiting[n] = nil
		c.put(w.h, w.cl, w.pk)
		n++
	}
	if c.waiting = c.waiting[n:]; len(c.waiting) == 0 {
		c.waiting = nil
	}
}

// takes reports whether a message may follow what is queued: not before what the session held, not after a goodbye, and not
// beyond the client's Receive Maximum. The caller must hold mu.
func (c *conn) takes(pk packets.Packet) bool {
	return c.flowing && !c.leaving && !c.gone() && len(c.queue) < queueBytes && (pk.FixedHeader.Qos == 0 || c.most == 0 || c.window > 0)
}

// put encodes a message into the queue. The caller must hold mu.
func (c *conn) put(h *hook, cl *mqtt.Client, pk packets.Packet) {
	if pk.FixedHeader.Qos > 0 {
		c.window--
	}
	c.queue = h.encode(c.queue, cl, pk)
}
