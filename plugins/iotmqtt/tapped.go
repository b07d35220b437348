package iotmqtt

import (
	"errors"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/internal/tap"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
	"github.com/iotcast/iotcast/plugins/internal/permanent"
	"github.com/iotcast/iotcast/plugins/internal/tapping"
)

// tapped tells whoever follows what becomes of messages.
type tapped struct {
	tap    *tap.Tap // nil: there is none
	stream string
	meta   *metadata
}

// Why a batch is not handed out, or not again.
var (
	errComesAgain = errors.New("the connection was lost: the broker sends it again")
	errExpired    = errors.New("the message expiry of its publisher has passed")
)

// consult takes the tap of the process, which there may not have been before. It comes before the first message.
func (t *tapped) consult(res *service.Resources) {
	if t.tap != nil {
		return
	}
	if all := tapping.Of(res); all != nil { // acknowledgements read it at any time
		t.tap = all
	}
}

func (t *tapped) message(m *mqttclient.Message, eventID, deviceID string) tap.Message {
	return tap.Message{
		EventID: eventID, Source: string(t.meta.source), BrokerID: t.meta.broker, RegistryID: t.meta.registry,
		DeviceID: deviceID, Topic: m.Topic,
		Payload: m.Payload, QoS: m.QoS, Retained: m.Retained, Duplicate: m.Duplicate, Stream: t.stream, ReceivedAt: m.ReceivedAt,
	}
}

// deviceOf is the device that a message has by its metadata.
func deviceOf(m *service.Message) string {
	id, _ := m.MetaGet(metakey.DeviceID)
	return id
}

// received begins the way of a message, and appends its event ID if somebody follows. Somebody must want to hear of it.
func (t *tapped) received(m *mqttclient.Message, as *service.Message, ids []string) []string {
	id := tapping.EventID(as)
	t.tap.Receive(t.message(m, id, deviceOf(as)))
	if t.tap.On() {
		ids = append(ids, id)
	}
	return ids
}

// leftOut is for a message that goes nowhere. It is ReadBatch's.
func (t *tapped) leftOut(m *mqttclient.Message, reason string) {
	device := ""
	if t.meta.source == iotcore.Device {
		device = t.meta.deviceOf(m.Topic)
	}
	t.tap.LeaveOut(t.message(m, t.meta.eventIDs.Next(), device), reason)
}

func (t *tapped) batched(b *batch) {
	if len(b.ids) > 0 {
		t.tap.Note(tap.Step{Step: tap.Batched, Stream: t.stream, Messages: len(b.sources)}, b.ids...)
	}
}

// note adds a step to the ways of a batch. The error may be nil.
func (t *tapped) note(b *batch, step string, err error) {
	if len(b.ids) > 0 && t.tap.On() {
		t.tap.Note(tap.Step{Step: step, Stream: t.stream, Reason: reason(err)}, b.ids...)
	}
}

func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// lost is for a batch that is given up, of which some messages or all have failed.
func (t *tapped) lost(b *batch, err error) {
	t.note(b, tap.GivenUp, err)
	if t.tap == nil {
		return
	}
	at := time.Now()
	failed := b.failures(err)
	for i, m := range b.sources {
		if failed[i] == nil {
			continue
		}
		id, device := "", ""
		if len(b.messages) == len(b.sources) { // or else processors of the field batching have made others of them
			id, device = tapping.EventID(b.messages[i]), deviceOf(b.messages[i])
		}
		t.tap.Lost(t.message(m, id, device), tap.Step{Step: tap.GivenUp, At: at, Stream: t.stream, Reason: failed[i].Error()})
	}
}

// failures are why messages of the batch have failed, nil for those that have not. An error is that of all, unless it tells
// of which messages it is, or of which envelopes: an envelope has the event ID of its last message.
func (b *batch) failures(err error) []error {
	failed := make([]error, len(b.sources))
	places := make(map[string]int, len(b.messages))
	if len(b.messages) == len(b.sources) {
		for i, m := range b.messages {
			places[tapping.EventID(m)] = i
		}
	}
	found := false
	permanent.Each(err, func(m *service.Message, err error) {
		last, ok := places[tapping.EventID(m)]
		if !ok {
			return
		}
		n := int64(1)
		if of, ok := m.MetaGetMut(metakey.Messages); ok {
			n, _ = of.(int64)
		}
		for i := last; i >= 0 && n > 0; i, n = i-1, n-1 {
			failed[i], found = err, true
		}
	})
	if !found {
		for i := range failed {
			failed[i] = err
		}
	}
	return failed
}
