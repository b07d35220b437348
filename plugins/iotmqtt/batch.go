package iotmqtt

import (
	"slices"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
	"github.com/iotcast/iotcast/plugins/internal/order"
	"github.com/iotcast/iotcast/plugins/internal/permanent"
)

// batch is what went through the pipeline together.
type batch struct {
	messages service.MessageBatch
	sources  []*mqttclient.Message
	ids      []string // event IDs of those that somebody followed when they were received
	session  *mqttclient.Session
	turn     *order.Turn
	attempts int
}

// failed is how many messages of the batch an error is about.
func (b *batch) failed(err error) (n int) {
	told := permanent.Each(err, func(m *service.Message, _ error) {
		if of, ok := m.MetaGetMut(metakey.Messages); ok {
			envelope, _ := of.(int64)
			n += int(envelope) - 1
		}
		n++
	})
	if !told || n > len(b.sources) {
		return len(b.sources)
	}
	return n
}

// takeExpired takes messages out of the batch whose expiry has passed. Where processors of the field batching have made others
// of them, nothing tells which are which: then it is all or none.
func (b *batch) takeExpired(now time.Time) (gone []*mqttclient.Message) {
	expired := func(m *mqttclient.Message) bool { return m.Expired(now) }
	if !slices.ContainsFunc(b.sources, expired) {
		return nil
	}
	if len(b.messages) != len(b.sources) {
		if slices.ContainsFunc(b.sources, func(m *mqttclient.Message) bool { return !expired(m) }) {
			return nil
		}
		gone, b.sources, b.messages = b.sources, nil, nil
		return gone
	}
	var left batch
	for i, m := range b.sources {
		if expired(m) {
			gone = append(gone, m)
		} else {
			left.sources, left.messages = append(left.sources, m), append(left.messages, b.messages[i])
		}
	}
	b.sources, b.messages = left.sources, left.messages
	return gone
}

// comesAgain reports whether the broker will send all messages of a batch again,
// or has already, so that a replay would double them.
func (b *batch) comesAgain(cleanSession bool) bool {
	if cleanSession || !b.session.Lost() {
		return false
	}
	for _, m := range b.sources {
		if m.QoS == 0 {
			return false
		}
	}
	return true
}
