package devbroker

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// A will is a message like any other. mochi v2.7.9 publishes it without most of its properties, past the hooks, maybe to a
// session that moves just then; after a delay, as one that has expired; and not at all, if the session has ended meanwhile. So
// mochi only says when, of a will to nowhere.

// takeWill keeps the will of a client. One that could not be published later is refused now: the client can be told.
func (h *hook) takeWill(cl *mqtt.Client) error {
	p := connOf(cl).connect
	if !p.WillFlag {
		return nil
	}
	if p.WillTopic == "" || iotcore.HasWildcard(p.WillTopic) {
		return errors.New("its will has no valid topic")
	}
	err := iotcore.ValidateLevels(p.WillTopic)
	if err == nil {
		_, err = h.route(cl, p.WillTopic)
	}
	if err != nil {
		return fmt.Errorf("its will: %w", err)
	}
	will := &packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: p.WillQos, Retain: p.WillRetain},
		TopicName:   p.WillTopic, Payload: p.WillPayload, Properties: p.WillProperties,
	}
	if p.WillQos > 0 {
		will.PacketID = 1 // of no meaning, but there must be one
	}
	connOf(cl).will = will
	// A delay is no longer than the session.
	cl.Properties.Will.WillDelayInterval = min(cl.Properties.Will.WillDelayInterval, cl.Properties.Props.SessionExpiryInterval)
	return nil
}

// OnWill comes when mochi would publish a will, or begin to wait for its delay.
func (h *hook) OnWill(cl *mqtt.Client, will mqtt.Will) (mqtt.Will, error) {
	connOf(cl).willDue.Store(true)
	if will.WillDelayInterval == 0 {
		h.publishWill(cl)
	}
	return mqtt.Will{TopicName: nowhere}, nil
}

// OnWillSent comes when the delay of a will is over.
func (h *hook) OnWillSent(cl *mqtt.Client, _ packets.Packet) { h.publishWill(cl) }

// publishWill publishes the will of a client if that is due, once. One of somebody who may not publish it any more is dropped.
func (h *hook) publishWill(cl *mqtt.Client) {
	if cl.Net.Conn == nil { // it has come from disk
		return
	}
	c := connOf(cl)
	if c.will == nil || !c.willDue.Swap(false) {
		return
	}
	pk := *c.will
	r, err := h.route(cl, pk.TopicName)
	if err != nil {
		h.logAt(slog.LevelDebug, "refused a will", cl, err)
		return
	}
	if len(r.topics) == 0 {
		return
	}
	pk.ProtocolVersion = cl.Properties.ProtocolVersion
	if expiry := pk.Properties.MessageExpiryInterval; expiry > 0 {
		pk.Expiry = time.Now().Unix() + int64(expiry)
	}
	pk.Origin, pk.Created = cl.ID, time.Now().Unix()
	h.keepIfAsked(cl, r, &pk)
	h.handOut(r.topics, &pk)
}
