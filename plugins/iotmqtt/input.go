// Package iotmqtt is the input iot_mqtt.
//
// A message comes by a session (connection.go), may be left out (sieve.go), becomes
// part of a batch (gathering.go), and is handed out until it is settled (delivery.go,
// replays.go). input.go leads it from one to the next; these know batches (batch.go),
// and not each other. With leases there are several inputs, one for each part that this
// process holds: share.go, part.go.
package iotmqtt

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/plugins/internal/logging"
	"github.com/iotcast/iotcast/plugins/internal/order"
	"github.com/iotcast/iotcast/plugins/internal/tapping"
)

func init() {
	registerFilterProblem() // before Spec, whose lint rules use them
	registerFieldProblem()
	service.MustRegisterBatchInput("iot_mqtt", Spec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchInput, error) {
			cfg, err := parse(conf)
			if err != nil {
				return nil, err
			}
			if cfg.leases.parts > 0 {
				return newShare(cfg, res)
			}
			return newInput(cfg, res, newMetrics(res.Metrics()).zeroed(), logging.New(res.Logger()))
		})
}

// input implements service.BatchInput. Benthos calls Connect, ReadBatch and
// Close one at a time, acknowledgements at any time.
type input struct {
	res        *service.Resources
	meta       *metadata
	connection *connection
	sieve      *sieve
	gathering  *gathering
	delivery   *delivery
	tapped     *tapped

	line     *order.Line
	stopping sync.Once
}

var (
	_ service.BatchInput         = (*input)(nil)
	_ service.ConnectionTestable = (*input)(nil)
)

func newInput(cfg config, res *service.Resources, metrics metrics, log *slog.Logger) (*input, error) {
	batcher, err := cfg.batching.NewBatcher(res)
	if err != nil {
		return nil, err
	}
	meta := newMetadata(cfg)
	if err := meta.consult(res); err != nil {
		return nil, err
	}
	if meta.stranger() {
		log.Warn("The registry has no such device now: messages come when it has", "device", cfg.device, "registry", cfg.registry)
	}
	meta.warnIfAstray(log)
	tapped := &tapped{stream: res.StreamID(), meta: meta, tap: tapping.Of(res)}
	line := order.NewLine(order.StreamOf(res))
	turn := line.First()
	alone := cfg.batching.Count == 1 && cfg.batching.IsNoop()
	return &input{
		res:        res,
		meta:       meta,
		connection: newConnection(cfg.session, metrics, log),
		sieve:      &sieve{session: cfg.session, meta: meta, repeats: metrics.repeated, log: log, tapped: tapped},
		gathering: &gathering{
			cfg: cfg, batcher: batcher, alone: alone, meta: meta, tracing: newTracing(res), rejected: metrics.rejected, log: log,
			turn: turn, context: turn.Context(), tapped: tapped,
		},
		delivery: newDelivery(cfg, alone, metrics, log, tapped),
		tapped:   tapped,
		line:     line,
	}, nil
}

// Connect implements service.BatchInput.
func (in *input) Connect(ctx context.Context) error {
	if err := in.connection.leave(ctx); err != nil {
		return err
	}
	in.tapped.consult(in.res)
	// An input resource is made before the process knows who is who.
	if err := in.meta.consult(in.res); err != nil {
		return err
	}
	in.meta.warnIfAstray(in.connection.log)
	s, err := in.connection.open(ctx)
	if err != nil {
		return err
	}
	in.sieve.begin(s)
	return nil
}

// ConnectionTest implements service.ConnectionTestable.
func (in *input) ConnectionTest(ctx context.Context) service.ConnectionTestResults {
	if err := in.connection.client.Test(ctx); err != nil {
		return service.ConnectionTestFailed(err).AsList()
	}
	return service.ConnectionTestSucceeded().AsList()
}

// ReadBatch implements service.BatchInput.
func (in *input) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	// Benthos cancels ctx, the same in every call, when the input is to stop,
	// though it may be busy elsewhere then.
	in.stopping.Do(func() { context.AfterFunc(ctx, in.line.End) })
	s := in.connection.current()
	if s == nil {
		return nil, nil, service.ErrNotConnected
	}
	for {
		if b := in.delivery.again(); b != nil {
			return in.delivery.hand(b)
		}
		if in.delivery.busy() {
			if err := in.delivery.wait(ctx); err != nil {
				return nil, nil, err
			}
			continue
		}
		m, err := s.Pop()
		switch {
		case m != nil && !in.sieve.wants(m):
			s.Ack([]*mqttclient.Message{m})
			continue
		case m != nil && in.gathering.alone:
			if b := in.gathering.single(s, m); in.delivery.fresh(b) {
				return in.delivery.handFirst(b)
			}
			continue
		case m != nil:
			if !in.gathering.add(m) {
				continue
			}
		case err != nil && len(in.gathering.held) == 0:
			return nil, nil, service.ErrNotConnected
		case err == nil:
			if in.wait(ctx, s) {
				continue
			}
		}
		in.gathering.tellOfWindow(s)
		b := in.gathering.flush(ctx, s)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if b != nil && in.delivery.fresh(b) {
			return in.delivery.handFirst(b)
		}
	}
}

// wait returns true when there may be something to read, and false when the
// batch that has begun is due, or ctx has ended.
func (in *input) wait(ctx context.Context, s *mqttclient.Session) bool {
	var due <-chan time.Time
	if len(in.gathering.held) > 0 {
		timer := time.NewTimer(in.gathering.due(s, in.delivery.away.Load() > 0))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-s.Arrived():
		return true
	case <-in.delivery.replays.ready:
		return true
	case <-due:
		return false
	case <-ctx.Done():
		return false
	}
}

// Close implements service.BatchInput.
func (in *input) Close(ctx context.Context) error {
	in.connection.unwatch()
	if s := in.connection.current(); s != nil {
		in.delivery.stop()
		s.Drop(in.gathering.held)
	}
	in.connection.end()
	in.connection.forget() // what the pipeline still has is nobody's any more
	in.line.End()
	return in.gathering.batcher.Close(ctx)
}
