// Package iotmqtt is the input iot_mqtt.
package iotmqtt

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"iotcast/internal/mqttclient"
	"iotcast/plugins/internal/logging"
	"iotcast/plugins/internal/order"
)

func init() {
	service.MustRegisterBatchInput("iot_mqtt", Spec(), func(conf *service.ParsedConfig, res *service.Resources) (service.BatchInput, error) {
		in, err := newInput(conf, res)
		if err != nil {
			return nil, err
		}
		retrying, err := service.AutoRetryNacksBatchedToggled(conf, in)
		if err != nil {
			return nil, err
		}
		return wholeBatches{retrying}, nil
	})
}

// input implements service.BatchInput. Benthos calls Connect, ReadBatch and
// Close one at a time, acknowledgements at any time.
type input struct {
	cfg     config
	log     *slog.Logger
	meta    *metadata
	batcher *service.Batcher
	gather  []*mqttclient.Message // what the batcher holds
	turn    *order.Turn           // of the batch that is gathered
	context context.Context       // of its messages: it carries the turn

	mu        sync.Mutex // guards session
	session   *mqttclient.Session
	connected bool // at least once

	unacked     *service.MetricGauge
	dropped     *service.MetricCounter
	rejected    *service.MetricCounter
	sessionLost *service.MetricCounter
	droppedSeen int64
}

var _ service.BatchInput = (*input)(nil)

func newInput(conf *service.ParsedConfig, res *service.Resources) (*input, error) {
	cfg, err := parse(conf)
	if err != nil {
		return nil, err
	}
	batcher, err := cfg.batching.NewBatcher(res)
	if err != nil {
		return nil, err
	}
	m := res.Metrics()
	turn := order.First(order.StreamOf(res))
	return &input{
		turn:        turn,
		context:     turn.Context(),
		cfg:         cfg,
		log:         logging.New(res.Logger()),
		meta:        newMetadata(cfg),
		batcher:     batcher,
		unacked:     m.NewGauge("iot_mqtt_unacked"),
		dropped:     m.NewCounter("iot_mqtt_dropped"),
		rejected:    m.NewCounter("iot_mqtt_rejected"),
		sessionLost: m.NewCounter("iot_mqtt_session_lost"),
	}, nil
}

// Connect implements service.BatchInput.
func (in *input) Connect(ctx context.Context) error {
	in.end()
	s, err := mqttclient.Connect(ctx, in.cfg.session, in.log)
	if err != nil {
		return err
	}
	log := in.log.With("client_id", in.cfg.session.ClientID, "topics", in.cfg.session.Filters)
	switch {
	case s.Resumed:
		log.Info("Resumed the session on the MQTT broker")
	case in.connected && !in.cfg.session.CleanSession:
		in.sessionLost.Incr(1)
		log.Warn("The MQTT broker has lost the session: messages that it kept for this client may be lost")
	default:
		log.Info("Subscribed on the MQTT broker")
	}
	in.mu.Lock()
	in.session, in.connected, in.droppedSeen = s, true, 0
	in.mu.Unlock()
	return nil
}

// ReadBatch implements service.BatchInput.
func (in *input) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	s := in.current()
	if s == nil {
		return nil, nil, service.ErrNotConnected
	}
	for {
		m, err := in.next(ctx, s)
		switch {
		case err == nil && !in.meta.concerns(m):
			s.Ack([]*mqttclient.Message{m})
			continue
		case err == nil:
			in.gather = append(in.gather, m)
			if !in.batcher.Add(in.meta.message(in.context, m)) {
				continue
			}
		case ctx.Err() != nil:
			return nil, nil, err
		case errors.Is(err, mqttclient.ErrLost) && len(in.gather) == 0:
			return nil, nil, service.ErrNotConnected
		case len(in.gather) == 0:
			continue
		}
		return in.flush(ctx, s)
	}
}

// next waits for a message, at most until a batch that has begun is due.
func (in *input) next(ctx context.Context, s *mqttclient.Session) (*mqttclient.Message, error) {
	if len(in.gather) > 0 {
		if due, timed := in.batcher.UntilNext(); timed {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, max(due, 0))
			defer cancel()
		}
	}
	return s.Next(ctx)
}

func (in *input) flush(ctx context.Context, s *mqttclient.Session) (service.MessageBatch, service.AckFunc, error) {
	messages, turn := in.gather, in.turn
	in.gather, in.turn = nil, turn.Next()
	in.context = in.turn.Context()
	batch, err := in.batcher.Flush(ctx)
	if err != nil {
		return nil, nil, err
	}
	in.observe(s)
	if len(batch) == 0 { // a processor of the batch policy has filtered all
		turn.Taken()
		s.Ack(messages)
		return in.ReadBatch(ctx)
	}
	return batch, func(_ context.Context, err error) error {
		if err != nil {
			// Only with auto_replay_nacks: false. MQTT 3.1.1 knows no negative
			// acknowledgement.
			in.rejected.Incr(int64(len(messages)))
			in.log.Warn("Messages were rejected and are given up, since auto_replay_nacks is false",
				"messages", len(messages), "error", err)
		}
		s.Ack(messages)
		return nil
	}, nil
}

func (in *input) observe(s *mqttclient.Session) {
	n, _ := s.Unacked()
	in.unacked.Set(int64(n))
	if d := s.Dropped(); d > in.droppedSeen {
		in.dropped.Incr(d - in.droppedSeen)
		in.log.Warn("Messages of QoS 0 were dropped for want of room: raise max_unacked, or make the pipeline faster",
			"messages", d-in.droppedSeen, "max_unacked", in.cfg.session.MaxUnacked)
		in.droppedSeen = d
	}
}

// Close implements service.BatchInput.
func (in *input) Close(ctx context.Context) error {
	in.end()
	return in.batcher.Close(ctx)
}

// end closes the session, if there is one.
func (in *input) end() {
	in.mu.Lock()
	s := in.session
	in.session = nil
	in.mu.Unlock()
	if s != nil {
		s.Close()
	}
}

func (in *input) current() *mqttclient.Session {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.session
}

// wholeBatches makes every rejection one of the whole batch. A processor that
// turns a batch into fewer messages, as iot_trigger does, leaves Benthos with no
// way to tell which of the input's messages an error of one of them concerns;
// taken at its word, others would be acknowledged that were never sent. It also
// ends a batch's turn, whatever became of it.
type wholeBatches struct{ service.BatchInput }

// ReadBatch implements service.BatchInput.
func (w wholeBatches) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	batch, ack, err := w.BatchInput.ReadBatch(ctx)
	if err != nil {
		return nil, nil, err
	}
	turn := order.Of(batch)
	return batch, func(ctx context.Context, err error) error {
		if turn != nil {
			turn.Taken() // a filter or another output may have ended it
		}
		if err != nil {
			err = errors.New(err.Error())
		}
		return ack(ctx, err)
	}, nil
}
