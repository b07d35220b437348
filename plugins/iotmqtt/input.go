// Package iotmqtt is the input iot_mqtt.
package iotmqtt

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/plugins/internal/logging"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
	"github.com/iotcast/iotcast/plugins/internal/order"
	"github.com/iotcast/iotcast/plugins/internal/permanent"
)

func init() {
	registerFilterProblem() // before Spec, whose lint rules use it
	service.MustRegisterBatchInput("iot_mqtt", Spec(), func(conf *service.ParsedConfig, res *service.Resources) (service.BatchInput, error) {
		return newInput(conf, res)
	})
}

// input implements service.BatchInput. Benthos calls Connect, ReadBatch and
// Close one at a time, acknowledgements at any time.
type input struct {
	cfg     config
	res     *service.Resources
	log     *slog.Logger
	meta    *metadata
	batcher *service.Batcher
	alone   bool // each message is a batch, and goes past the batcher
	metrics metrics
	tracing tracing
	replays *replays

	gathered []*mqttclient.Message // what the batcher holds
	line     *order.Line
	turn     *order.Turn     // of the batch that is gathered
	context  context.Context // of its messages: it carries the turn
	stopping sync.Once
	rivalry  rivalry       // of Connect alone
	cutShort bool          // of Connect alone: the last one was, before it had subscribed
	free     chan struct{} // with strict_order: holds one thing while no batch is on its way; else nil

	watching sync.Once
	watched  chan struct{} // closed when watch has ended
	closed   chan struct{}

	mu        sync.Mutex // guards session: Close may come while Connect runs
	session   *mqttclient.Session
	connected bool // at least once
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
	meta := newMetadata(cfg)
	if err := meta.consult(res); err != nil {
		return nil, err
	}
	line := order.NewLine(order.StreamOf(res))
	turn := line.First()
	var free chan struct{}
	if cfg.strictOrder {
		free = make(chan struct{}, 1)
		free <- struct{}{}
	}
	return &input{
		res:     res,
		cfg:     cfg,
		log:     logging.New(res.Logger()),
		meta:    meta,
		batcher: batcher,
		alone:   cfg.batching.Count == 1 && cfg.batching.IsNoop(),
		metrics: newMetrics(res.Metrics()).zeroed(),
		tracing: newTracing(res),
		replays: newReplays(),
		line:    line,
		turn:    turn,
		context: turn.Context(),
		watched: make(chan struct{}),
		closed:  make(chan struct{}),
		free:    free,
	}, nil
}

// Connect implements service.BatchInput.
func (in *input) Connect(ctx context.Context) error {
	last := in.current()
	cutShort := in.cutShort || last != nil && last.CutShort(shortLife)
	if err := in.rivalry.wait(ctx, cutShort, in.log); err != nil {
		return err
	}
	in.end()
	// An input resource is made before the process knows who is who.
	if err := in.meta.consult(in.res); err != nil {
		return err
	}
	s, err := mqttclient.Connect(ctx, in.cfg.session, in.log)
	in.cutShort = errors.Is(err, mqttclient.ErrLost)
	if err != nil {
		return err
	}
	log := in.log.With("client_id", in.cfg.session.ClientID, "topics", in.cfg.session.Filters)
	switch {
	case s.Resumed:
		log.Info("Resumed the session on the MQTT broker")
	case in.connected && !in.cfg.session.CleanSession:
		in.metrics.sessionLost.Incr(1)
		log.Warn("The MQTT broker has lost the session: messages that it kept for this client may be lost")
	default:
		log.Info("Subscribed on the MQTT broker")
	}
	if filters := doubtful(in.cfg.session.Filters); len(filters) > 0 {
		log.Warn("Not every MQTT broker delivers to a shared subscription of topics that begin with $, though it grants it: "+
			"if nothing arrives, set partition instead of share_group", "filters", filters)
	}
	in.mu.Lock()
	in.session, in.connected = s, true
	in.mu.Unlock()
	in.watching.Do(func() { go in.watch() })
	return nil
}

// watch keeps the metrics true while nothing is read, which is when they matter.
func (in *input) watch() {
	defer close(in.watched)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if s := in.current(); s != nil {
				in.observe(s)
			}
		case <-in.closed:
			return
		}
	}
}

// ReadBatch implements service.BatchInput.
func (in *input) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	// Benthos cancels ctx, the same in every call, when the input is to stop,
	// though it may be busy elsewhere then.
	in.stopping.Do(func() { context.AfterFunc(ctx, in.line.End) })
	s := in.current()
	if s == nil {
		return nil, nil, service.ErrNotConnected
	}
	for {
		if b := in.replays.next(); b != nil {
			if in.comesAgain(b) {
				in.settled()
				continue
			}
			return in.hand(b)
		}
		if in.free != nil && len(in.free) == 0 {
			if err := in.waitForBatch(ctx); err != nil {
				return nil, nil, err
			}
			continue
		}
		m, err := s.Pop()
		switch {
		case m != nil && !in.meta.concerns(m):
			s.Ack([]*mqttclient.Message{m})
		case m != nil:
			in.gathered = append(in.gathered, m)
			message := in.meta.message(in.tracing.begin(in.context, m.Topic, m.ReceivedAt), m)
			switch {
			case in.alone:
				b := in.take(s)
				b.messages = service.MessageBatch{message}
				return in.handFirst(b)
			case in.batcher.Add(message):
				return in.flush(ctx, s)
			}
		case err != nil && len(in.gathered) == 0:
			return nil, nil, service.ErrNotConnected
		case err != nil, !in.wait(ctx, s):
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			return in.flush(ctx, s)
		}
	}
}

// wait returns true when there may be something to read, and false when the
// batch that has begun is due, or ctx has ended.
func (in *input) wait(ctx context.Context, s *mqttclient.Session) bool {
	var due <-chan time.Time
	if len(in.gathered) > 0 && in.cfg.period > 0 {
		timer := time.NewTimer(in.cfg.period - time.Since(in.gathered[0].ReceivedAt))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-s.Arrived():
		return true
	case <-in.replays.ready:
		return true
	case <-due:
		return false
	case <-ctx.Done():
		return false
	}
}

// waitForBatch returns when the batch that is on its way is settled, or is to be
// handed out again.
func (in *input) waitForBatch(ctx context.Context) error {
	select {
	case <-in.free:
		in.free <- struct{}{}
	case <-in.replays.ready:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// settled says that a batch that was handed out will not be again.
func (in *input) settled() {
	if in.free != nil {
		in.free <- struct{}{}
	}
}

// take makes a batch, yet without its messages, of what is gathered, and begins
// the next.
func (in *input) take(s *mqttclient.Session) *batch {
	b := &batch{session: s, sources: in.gathered, turn: in.turn}
	in.gathered, in.turn = nil, in.turn.Next()
	in.context = in.turn.Context()
	return b
}

// flush hands out what is gathered.
func (in *input) flush(ctx context.Context, s *mqttclient.Session) (service.MessageBatch, service.AckFunc, error) {
	b := in.take(s)
	var err error
	b.messages, err = in.batcher.Flush(ctx)
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if err != nil {
		in.metrics.rejected.Incr(int64(len(b.sources)))
		in.log.Error("The processors of the field batching failed: the messages are given up", "messages", len(b.sources), "error", err)
	}
	if len(b.messages) == 0 { // given up, or a processor has filtered all
		b.turn.Taken()
		s.Ack(b.sources)
		return in.ReadBatch(ctx)
	}
	return in.handFirst(b)
}

// handFirst hands out a batch that has not been before.
func (in *input) handFirst(b *batch) (service.MessageBatch, service.AckFunc, error) {
	if in.free != nil {
		<-in.free
	}
	return in.hand(b)
}

// batch is what went through the pipeline together.
type batch struct {
	messages service.MessageBatch
	sources  []*mqttclient.Message
	session  *mqttclient.Session
	turn     *order.Turn
	attempts int
}

// hand gives a batch to the pipeline, which may change it: with replays on, a
// copy.
func (in *input) hand(b *batch) (service.MessageBatch, service.AckFunc, error) {
	messages := b.messages
	if in.cfg.replay {
		messages = messages.Copy()
	}
	return messages, func(_ context.Context, err error) error {
		b.turn.Taken() // a filter or another output may have ended it
		switch {
		case err == nil:
			b.session.Ack(b.sources)
			in.settled()
		case b.turn.Ended().Err() != nil:
			// The stream ends: what is not acknowledged comes again.
		case permanent.Is(err):
			in.giveUp(b, "they can never be sent", err)
		case in.cfg.replay:
			// The whole batch, whichever of its messages the error is about. A
			// processor that makes fewer messages of a batch, as iot_trigger does,
			// leaves Benthos with no way to tell.
			in.replays.add(b)
		default:
			in.giveUp(b, "auto_replay_nacks is false", err)
		}
		return nil
	}, nil
}

// giveUp acknowledges what was rejected: MQTT 3.1.1 knows no negative
// acknowledgement.
func (in *input) giveUp(b *batch, because string, err error) {
	n := b.failed(err)
	in.metrics.rejected.Incr(int64(n))
	in.log.Error("Messages were rejected and are given up: to keep such, put a fallback behind the output",
		"messages", n, "topic", b.sources[0].Topic, "because", because, "error", err)
	b.session.Ack(b.sources)
	in.settled()
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

// comesAgain reports whether the broker will send all messages of a batch again,
// or has already, so that a replay would double them.
func (in *input) comesAgain(b *batch) bool {
	if in.cfg.session.CleanSession || !b.session.Lost() {
		return false
	}
	for _, m := range b.sources {
		if m.QoS == 0 {
			return false
		}
	}
	return true
}

func (in *input) observe(s *mqttclient.Session) {
	n, oldest := s.Unacked()
	in.metrics.unacked.Set(int64(n))
	age := 0.0
	if n > 0 {
		age = time.Since(oldest).Seconds()
	}
	in.metrics.oldestUnacked.SetFloat64(age)
	if d := s.TakeDropped(); d > 0 {
		in.metrics.dropped.Incr(d)
		in.log.Warn("Messages of QoS 0 were dropped for want of room: raise max_unacked, or make the pipeline faster",
			"messages", d, "max_unacked", in.cfg.session.MaxUnacked)
	}
}

// Close implements service.BatchInput.
func (in *input) Close(ctx context.Context) error {
	close(in.closed)
	in.watching.Do(func() { close(in.watched) }) // it never began
	<-in.watched
	in.end()
	in.line.End()
	in.replays.stop()
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
		in.observe(s) // what was dropped since watch has looked
	}
}

func (in *input) current() *mqttclient.Session {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.session
}
