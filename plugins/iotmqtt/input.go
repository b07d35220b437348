// Package iotmqtt is the input iot_mqtt.
package iotmqtt

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/plugins/internal/logging"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
	"github.com/iotcast/iotcast/plugins/internal/order"
	"github.com/iotcast/iotcast/plugins/internal/permanent"
)

func init() {
	registerFilterProblem() // before Spec, whose lint rules use them
	registerFieldProblem()
	service.MustRegisterBatchInput("iot_mqtt", Spec(), func(conf *service.ParsedConfig, res *service.Resources) (service.BatchInput, error) {
		return newInput(conf, res)
	})
}

// input implements service.BatchInput. Benthos calls Connect, ReadBatch and
// Close one at a time, acknowledgements at any time.
type input struct {
	cfg     config
	client  *mqttclient.Client
	res     *service.Resources
	log     *slog.Logger
	meta    *metadata
	batcher *service.Batcher
	alone   bool // each message is a batch, and goes past the batcher
	metrics metrics
	tracing tracing
	replays *replays

	gathered                    []*mqttclient.Message // what the batcher holds
	line                        *order.Line
	turn                        *order.Turn     // of the batch that is gathered
	context                     context.Context // of its messages: it carries the turn
	away                        atomic.Int64    // batches that are on their way through the pipeline
	stopping                    sync.Once
	toldOfWindow, toldOfUnacked bool          // of ReadBatch alone: why batches are not full
	foreign                     bool          // of ReadBatch alone: that messages came which no filter covers
	rivalry                     rivalry       // of Connect alone
	cutShort                    bool          // of Connect alone: the last one was, before it had subscribed
	free                        chan struct{} // with strict_order: holds one thing while no batch is on its way; else nil

	watching sync.Once
	watched  chan struct{} // closed when watch has ended
	closed   chan struct{}

	mu        sync.Mutex // guards session: Close may come while Connect runs
	session   *mqttclient.Session
	connected bool     // at least once
	had       []string // topic filters of which the session has had the retained messages; changes with it
	repeated  bool     // of ReadBatch alone: that of this session they came again
}

var (
	_ service.BatchInput         = (*input)(nil)
	_ service.ConnectionTestable = (*input)(nil)
)

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
	log := logging.New(res.Logger())
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
		client:  mqttclient.New(cfg.session, log),
		log:     log,
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
	s, err := in.client.Connect(ctx)
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
	if filters := doubtful(in.cfg.session.Filters); len(filters) > 0 && !in.connected {
		log.Warn("Not every MQTT broker delivers to a shared subscription, though it grants it, and some do not for topics that begin with $: "+
			"if nothing arrives, set partition instead of share_group (see docs/cluster.md)", "filters", filters)
	}
	in.had, in.repeated = in.retainedBefore(s), false
	in.mu.Lock()
	in.session, in.connected = s, true
	in.mu.Unlock()
	in.watching.Do(func() { go in.watch() })
	return nil
}

// ConnectionTest implements service.ConnectionTestable.
func (in *input) ConnectionTest(ctx context.Context) service.ConnectionTestResults {
	if err := in.client.Test(ctx); err != nil {
		return service.ConnectionTestFailed(err).AsList()
	}
	return service.ConnectionTestSucceeded().AsList()
}

// retainedBefore are the topic filters of a resumed session whose retained messages
// it has had. SUBSCRIBE brings them once more [MQTT-3.8.4-3], and cannot be left out:
// a broker that has crashed may remember the session and not its last subscriptions.
// What they were, only the process knows that has subscribed; with another, a
// session is taken to have had them all.
func (in *input) retainedBefore(s *mqttclient.Session) []string {
	if in.cfg.session.CleanSession {
		return nil
	}
	switch had := subscribed.swap(in.cfg.session); {
	case !s.Resumed:
		return nil
	case had == nil:
		return in.cfg.session.Filters
	default:
		return had
	}
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
				b.session.Ack(b.sources) // it is lost: this makes room
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
		case m != nil && !in.wants(m):
			s.Ack([]*mqttclient.Message{m})
			continue
		case m != nil:
			in.gathered = append(in.gathered, m)
			message := in.meta.message(in.tracing.begin(in.context, m.Topic, m.ReceivedAt), m)
			if in.alone {
				b := in.take(s)
				b.messages = service.MessageBatch{message}
				return in.handFirst(b)
			}
			if !in.batcher.Add(message) {
				continue
			}
		case err != nil && len(in.gathered) == 0:
			return nil, nil, service.ErrNotConnected
		case err == nil:
			if in.wait(ctx, s) {
				continue
			}
		}
		in.tellOfWindow(s)
		b := in.flush(ctx, s)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if b != nil {
			return in.handFirst(b)
		}
	}
}

// wants reports whether a message goes on. What does not is acknowledged.
func (in *input) wants(m *mqttclient.Message) bool {
	switch {
	case !in.meta.covers(m.Topic):
		if !in.foreign {
			in.foreign = true
			in.log.Warn("The MQTT broker sends messages that no topic filter covers: they are left out. It may go on with a subscription from before: name its filter in the field unsubscribe, or take another client_id",
				"topic", m.Topic)
		}
		return false
	case m.Retained && !m.Duplicate && match(in.had, m.Topic):
		if !in.repeated {
			in.repeated = true
			in.log.Info("The MQTT broker sends retained messages once more, since the session was resumed: they are left out")
		}
		in.metrics.repeated.Incr(1)
		return false
	}
	return in.meta.concerns(m)
}

// wait returns true when there may be something to read, and false when the
// batch that has begun is due, or ctx has ended.
func (in *input) wait(ctx context.Context, s *mqttclient.Session) bool {
	var due <-chan time.Time
	if len(in.gathered) > 0 {
		timer := time.NewTimer(in.due(s))
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

// due is in how long the batch that has begun is, if nothing comes meanwhile.
func (in *input) due(s *mqttclient.Session) time.Duration {
	left := time.Duration(math.MaxInt64)
	if in.cfg.period > 0 {
		left = in.cfg.period - time.Since(in.gathered[0].ReceivedAt)
	}
	if in.away.Load() == 0 { // else what is on its way will be acknowledged, and more come
		left = min(left, s.Stall())
	}
	return left
}

// tellOfWindow says, each once, why batches are not full. What the broker does is
// guessed from pauses: a guess must not hide what is known of max_unacked.
func (in *input) tellOfWindow(s *mqttclient.Session) {
	count, window, most := in.cfg.batching.Count, s.Window(), in.cfg.session.MaxUnacked
	switch {
	case len(in.gathered) >= most && (count == 0 || count > most):
		if !in.toldOfUnacked {
			in.toldOfUnacked = true
			in.log.Warn("A batch holds no more messages than max_unacked allows: raise max_unacked, or lower batching.count", "max_unacked", most, "count", count)
		}
	case window > 0 && (count == 0 || count > window) && !in.toldOfWindow:
		in.toldOfWindow = true
		in.log.Warn("The MQTT broker waited for acknowledgements before a batch was full, which then went as it was: lower batching.count, or raise the limit of the broker, "+
			"such as max_inflight_messages of Mosquitto, mqtt.prefetch of RabbitMQ or mqtt.max_inflight of EMQX (see docs/brokers.md)", "messages", window, "count", count)
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

// flush makes a batch of what is gathered, nil if nothing is left of it.
func (in *input) flush(ctx context.Context, s *mqttclient.Session) *batch {
	if ctx.Err() != nil {
		return nil // Close counts what is gathered
	}
	messages, err := in.batcher.Flush(ctx)
	if ctx.Err() != nil {
		return nil
	}
	b := in.take(s)
	if err != nil {
		in.metrics.rejected.Incr(int64(len(b.sources)))
		in.log.Error("The processors of the field batching failed: the messages are given up", "messages", len(b.sources), "error", err)
	}
	if b.messages = messages; len(messages) == 0 { // given up, or a processor has filtered all
		b.turn.Taken()
		s.Ack(b.sources)
		return nil
	}
	return b
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
	in.away.Add(1)
	return messages, func(_ context.Context, err error) error {
		defer in.back()
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

// back says that a batch is no longer on its way, which may make another one due.
func (in *input) back() {
	if in.away.Add(-1) == 0 && !in.alone {
		in.replays.wake()
	}
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
		in.log.Warn("Messages were dropped that the MQTT broker will not send again, for want of room or since the stream has stopped: where they come too fast, raise max_unacked or make the pipeline faster; to lose none of QoS 1 and 2, set clean_session to false",
			"messages", d, "max_unacked", in.cfg.session.MaxUnacked)
	}
}

// Close implements service.BatchInput.
func (in *input) Close(ctx context.Context) error {
	close(in.closed)
	in.watching.Do(func() { close(in.watched) }) // it never began
	<-in.watched
	if s := in.current(); s != nil {
		for _, b := range append(in.replays.stop(), &batch{session: s, sources: in.gathered}) {
			b.session.Drop(b.sources)
		}
	}
	in.end()
	in.line.End()
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
