package devbroker

import (
	"bytes"
	"fmt"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// An MQTT 5 client says how many messages it takes without an acknowledgement, and how large a packet may be. mochi v2.7.9
// resends to it all that its session holds, however much that is, and gives up the connection at a message that is too large.

// holdBack takes out of a session, before it moves to a new connection, what its client is not to be sent: for ever what is
// too large [MQTT-3.1.2-25], and for now what it has no room for. It returns what gives the latter back, which is to be called
// when mochi knows what to resend.
func (h *hook) holdBack(cl, old *mqtt.Client) (giveBack func()) {
	c := connOf(cl)
	session := old.State.Inflight
	var waiting []packets.Packet
	for _, pk := range session.GetAll(false) {
		if pk.FixedHeader.Type != packets.Publish {
			c.narrowAtOnce() // a message that has been sent, and is not released yet
			continue
		}
		sent := pk
		sent.TopicName = h.outside(pk.TopicName)
		if pk.Expiry > 0 {
			sent.Properties.MessageExpiryInterval = 1 // mochi says how long is left
		}
		if why := tooLarge(cl, &sent); why != nil {
			h.reportRefusal(cl, messageTooLarge, why)
			h.discard(old, pk)
			continue
		}
		waiting = append(waiting, pk)
	}
	if room, bounded := c.room(); bounded && room < len(waiting) {
		c.held = waiting[room:]
	}
	for _, pk := range c.held {
		session.Delete(pk.PacketID)
	}
	return func() {
		for _, pk := range c.held {
			cl.State.Inflight.Set(pk)
		}
	}
}

// sendHeld sends what was held back, as the client acknowledges what came before, and then lets new messages follow.
func sendHeld(cl *mqtt.Client) {
	c := connOf(cl)
	for _, pk := range c.held {
		pk, ok := cl.State.Inflight.Get(pk.PacketID)
		if !ok { // it has expired
			continue
		}
		pk.FixedHeader.Dup = true // as mochi resends: it does not wait for itself
		if cl.WritePacket(pk) != nil {
			return
		}
	}
	c.resume()
}

// tooLarge tells that a message is above the Maximum Packet Size of its client, with all that belongs to it: left to itself,
// mochi leaves out user properties. It makes mochi agree.
func tooLarge(cl *mqtt.Client, pk *packets.Packet) error {
	pk.Mods = packets.Mods{AllowResponseInfo: true}
	most := cl.Properties.Props.MaximumPacketSize
	if most == 0 {
		return nil
	}
	encoded := *pk
	encoded.ProtocolVersion = cl.Properties.ProtocolVersion
	var buf bytes.Buffer
	if err := encoded.PublishEncode(&buf); err != nil || buf.Len() <= int(most) {
		return err
	}
	pk.Mods.MaxSize = 1
	return fmt.Errorf("it has %d bytes, and the client takes %d", buf.Len(), most)
}

// discard takes a message out of a session, as if it were acknowledged.
func (h *hook) discard(cl *mqtt.Client, pk packets.Packet) {
	if _, there := cl.State.Inflight.Get(pk.PacketID); !there || pk.FixedHeader.Qos == 0 {
		return
	}
	h.weights.remove(cl.ID, pk.PacketID)
	if h.store != nil {
		h.store.OnQosComplete(cl, pk)
	}
	if cl.State.Inflight.Delete(pk.PacketID) {
		atomic.AddInt64(&h.server.Info.Inflight, -1)
	}
}
