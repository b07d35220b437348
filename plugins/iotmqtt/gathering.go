package iotmqtt

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/internal/tap"
	"github.com/iotcast/iotcast/plugins/internal/order"
)

// gathering makes batches of messages. ReadBatch alone uses it, until Close.
type gathering struct {
	cfg      config
	batcher  *service.Batcher
	alone    bool // each message is a batch, and goes past the batcher
	meta     *metadata
	tracing  tracing
	rejected *service.MetricCounter
	log      *slog.Logger

	tapped  *tapped
	held    []*mqttclient.Message // what the batcher holds
	ids     []string              // their event IDs, as far as somebody follows them
	turn    *order.Turn           // of the batch that is gathered
	context context.Context       // of its messages: it carries the turn

	toldOfWindow, toldOfUnacked bool // why batches are not full
}

// add reports whether the batch is full with m.
func (g *gathering) add(m *mqttclient.Message) bool { return g.batcher.Add(g.hold(m)) }

// single is a batch of m alone.
func (g *gathering) single(s *mqttclient.Session, m *mqttclient.Message) *batch {
	message := g.hold(m)
	b := g.take(s)
	b.messages = service.MessageBatch{message}
	return b
}

func (g *gathering) hold(m *mqttclient.Message) *service.Message {
	g.held = append(g.held, m)
	message := g.meta.message(g.tracing.begin(g.context, m.Topic, m.ReceivedAt), m)
	if g.tapped.tap.Receives() {
		g.ids = g.tapped.received(m, message, g.ids)
	}
	return message
}

// due is in how long the batch that has begun is, if nothing comes meanwhile. While
// others are away, they will be acknowledged, and more come.
func (g *gathering) due(s *mqttclient.Session, othersAway bool) time.Duration {
	left := time.Duration(math.MaxInt64)
	if g.cfg.period > 0 {
		left = g.cfg.period - time.Since(g.held[0].ReceivedAt)
	}
	if !othersAway {
		left = min(left, s.Stall())
	}
	return left
}

// tellOfWindow says, each once, why batches are not full. What the broker does is
// guessed from pauses: a guess must not hide what is known of max_unacked.
func (g *gathering) tellOfWindow(s *mqttclient.Session) {
	count, window, most := g.cfg.batching.Count, s.Window(), g.cfg.session.MaxUnacked
	switch {
	case len(g.held) >= most && (count == 0 || count > most):
		if !g.toldOfUnacked {
			g.toldOfUnacked = true
			g.log.Warn("A batch holds no more messages than max_unacked allows: raise max_unacked, or lower batching.count", "max_unacked", most, "count", count)
		}
	case window > 0 && (count == 0 || count > window) && !g.toldOfWindow:
		g.toldOfWindow = true
		g.log.Warn("The MQTT broker waited for acknowledgements before a batch was full, which then went as it was: lower batching.count, or raise the limit of the broker, "+
			"such as max_inflight_messages of Mosquitto, mqtt.prefetch of RabbitMQ or mqtt.max_inflight of EMQX (see docs/brokers.md)", "messages", window, "count", count)
	}
}

// take makes a batch, yet without its messages, of what is gathered, and begins
// the next.
func (g *gathering) take(s *mqttclient.Session) *batch {
	b := &batch{session: s, sources: g.held, turn: g.turn, ids: g.ids}
	g.held, g.ids, g.turn = nil, nil, g.turn.Next()
	g.tapped.batched(b)
	g.context = g.turn.Context()
	return b
}

// flush makes a batch of what is gathered, nil if nothing is left of it.
func (g *gathering) flush(ctx context.Context, s *mqttclient.Session) *batch {
	if ctx.Err() != nil {
		return nil // Close counts what is gathered
	}
	messages, err := g.batcher.Flush(ctx)
	if ctx.Err() != nil {
		return nil
	}
	b := g.take(s)
	if err != nil {
		g.tapped.lost(b, err)
		g.rejected.Incr(int64(len(b.sources)))
		g.log.Error("The processors of the field batching failed: the messages are given up", "messages", len(b.sources), "error", err)
	}
	if b.messages = messages; len(messages) == 0 { // given up, or a processor has filtered all
		b.turn.Taken()
		s.Ack(b.sources)
		g.tapped.note(b, tap.Acknowledged, nil)
		return nil
	}
	return b
}
