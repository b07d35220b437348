package control

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/iotcast/iotcast/internal/state"
	"github.com/iotcast/iotcast/internal/streamsapi"
	stream "github.com/iotcast/iotcast/internal/triggers"
)

// Streams are those of this process.
type Streams interface {
	// Create starts a stream, or refuses its config and leaves nothing.
	Create(ctx context.Context, id string, config []byte) error
	// Update replaces a running stream, or refuses the config.
	Update(ctx context.Context, id string, config []byte) error
	// Check refuses a config that could not be started, and starts nothing.
	Check(ctx context.Context, config []byte) error
	// Delete ends a stream, once what it has read is sent and acknowledged.
	Delete(ctx context.Context, id string) error
	// Running are the IDs of all streams.
	Running(ctx context.Context) (map[string]bool, error)
	// Disconnected is why a stream's input or output is not connected now, empty if both are.
	Disconnected(ctx context.Context, id string) (why string, err error)
	// Connected waits until a stream's input and output are connected.
	Connected(ctx context.Context, id string) error
}

const (
	// pollEvery is how often it is looked whether streams mode is there, where nobody tells it.
	pollEvery = time.Second
	// retryEvery is how often a stream is tried again that could not be made.
	retryEvery = 5 * time.Second
	// connectTimeout is how long an answer waits for a trigger to reach its MQTT broker.
	connectTimeout = 5 * time.Second
	// farewellPrefix stands before the ID of a trigger in the ID of a stream that lives for a moment. No name of a trigger
	// has an underscore.
	farewellPrefix = "iotcast_farewell_"
)

// triggerStreams has a stream run for each trigger that is active, by its ID.
type triggerStreams struct {
	streams Streams // nil: this process has none
	maker   stream.Maker
	kind    *kind[*triggers.Trigger]
	launch  <-chan struct{} // closed when streams mode is there
	log     *slog.Logger

	poll, retry, connect time.Duration

	up    atomic.Bool // streams mode is there, and all have been tried
	ended sync.WaitGroup
	stop  context.CancelFunc

	mu     sync.Mutex
	failed map[string]string // the active triggers whose stream could not be made, and why; guarded by mu
}

func newTriggerStreams(cfg Config, log *slog.Logger) *triggerStreams {
	template := cfg.TriggerTemplate
	if template == nil {
		template = stream.Template
	}
	return &triggerStreams{
		streams: cfg.Streams, launch: cfg.Launch, log: log, stop: func() {}, failed: map[string]string{},
		poll: cmp.Or(cfg.retry, pollEvery), retry: cmp.Or(cfg.retry, retryEvery), connect: cmp.Or(cfg.connect, connectTimeout),
		maker: stream.Maker{Template: template, Broker: cfg.BrokerURL, Password: cfg.Directory.ProcessPassword()},
	}
}

// available tells callers why there are no triggers.
func (s *triggerStreams) available() error {
	switch {
	case s.streams == nil:
		return status.Error(codes.FailedPrecondition, "triggers are streams, and this process has none: start it with `iotcast streams`, and without --no-api")
	case !s.up.Load():
		return status.Error(codes.Unavailable, "the triggers are being started: try again")
	}
	return nil
}

// ready is a check for readiness.
func (s *triggerStreams) ready() error {
	if s.streams != nil && !s.up.Load() {
		return errors.New("the triggers are being started")
	}
	return nil
}

// start makes the streams of all active triggers as soon as streams mode is there, and tries those again that cannot be made.
func (s *triggerStreams) start() {
	if s.streams == nil {
		return
	}
	var ctx context.Context
	ctx, s.stop = context.WithCancel(context.Background())
	s.ended.Go(func() {
		// Before, streams of files come, which have their IDs by right, and the API is not to be called while it is put together.
		select {
		case <-s.launch:
		case <-time.After(s.poll):
		case <-ctx.Done():
			return
		}
		for _, err := s.streams.Running(ctx); err != nil; _, err = s.streams.Running(ctx) {
			if !pause(ctx, s.poll) {
				return
			}
		}
		if err := s.makeAll(ctx); err != nil {
			s.log.Error("The triggers cannot be read", "error", err)
			return
		}
		s.up.Store(true)
		for pause(ctx, s.retry) {
			for _, id := range s.failures() {
				s.make(ctx, id)
			}
		}
	})
}

// close ends what start has begun. The streams end with their process.
func (s *triggerStreams) close() {
	s.stop()
	s.ended.Wait()
}

// pause is false when ctx has ended before.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *triggerStreams) makeAll(ctx context.Context) error {
	var ids []string
	err := s.kind.state.Read(func(tx *state.Tx) error {
		for one, err := range tx.Walk(state.Triggers, "", "") {
			if err != nil {
				return err
			}
			ids = append(ids, one.Key)
		}
		return nil
	})
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		s.make(ctx, id)
	}
	return err
}

// make makes the stream of a trigger that has none.
func (s *triggerStreams) make(ctx context.Context, id string) {
	defer s.kind.turn(id)()
	s.kind.changes.RLock()
	defer s.kind.changes.RUnlock()
	e, err := s.kind.get(id)
	if err != nil || e.resource.Status != triggers.Trigger_ACTIVE {
		s.settle(id, nil)
		return
	}
	config, err := s.maker.Stream(e.resource, e.private.Unsubscribe)
	if err == nil {
		err = s.streams.Create(ctx, id, config)
	}
	if ctx.Err() != nil { // the process ends
		return
	}
	switch before := s.settle(id, err); {
	case err == nil && before != "":
		s.log.Info("The trigger could not be started, and now it is", "trigger_id", id)
	case err != nil && before != err.Error():
		s.log.Error("The trigger cannot be started, and is tried again", "trigger_id", id, "error", err)
	}
}

// settle notes how the making of a stream has ended, and returns the error of the time before.
func (s *triggerStreams) settle(id string, err error) (before string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before = s.failed[id]
	delete(s.failed, id)
	if err != nil {
		s.failed[id] = err.Error()
	}
	return before
}

func (s *triggerStreams) failures() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.failed))
}

// has reports whether the stream with the ID of a trigger is that of the trigger, and not one that somebody made by hand.
func (s *triggerStreams) has(running map[string]bool, e *entry[*triggers.Trigger]) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, failed := s.failed[e.resource.Id]
	return e.resource.Status == triggers.Trigger_ACTIVE && running[e.resource.Id] && !failed
}

// taken reports whether no trigger can have an ID.
func (s *triggerStreams) taken(id string) bool {
	if streamsapi.Reserved(id) {
		return true
	}
	if _, err := s.kind.get(id); err == nil {
		return true
	}
	running, err := s.streams.Running(context.Background())
	return err == nil && running[id]
}

// apply is the apply of the kind. What it has begun it ends, also for a caller who has left.
func (s *triggerStreams) apply(ctx context.Context, old, now *entry[*triggers.Trigger]) error {
	if err := s.available(); err != nil { // an import does not ask before
		return err
	}
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	ctx = context.WithoutCancel(ctx)
	running, err := s.streams.Running(ctx)
	if err != nil {
		return err
	}
	runs := old != nil && s.has(running, old)
	if now == nil {
		return s.end(ctx, old, runs)
	}
	if err := s.change(ctx, old, now, runs); err != nil {
		return refusedStream(now.resource.Id, err)
	}
	s.settle(now.resource.Id, nil)
	if old != nil {
		s.leave(ctx, old, now)
	}
	return nil
}

// change makes the stream of a trigger as it is to be now. Old is nil for a new trigger.
func (s *triggerStreams) change(ctx context.Context, old, now *entry[*triggers.Trigger], runs bool) error {
	id := now.resource.Id
	config, err := s.maker.Stream(now.resource, now.private.Unsubscribe)
	if err != nil {
		return err
	}
	var before []byte
	if old != nil {
		if before, err = s.maker.Stream(old.resource, old.private.Unsubscribe); err != nil {
			return err
		}
	}
	same := bytes.Equal(config, before)
	switch paused := now.resource.Status == triggers.Trigger_PAUSED; {
	case paused && !same:
		if err := s.streams.Check(ctx, config); err != nil || !runs {
			return err
		}
		return s.streams.Delete(ctx, id)
	case paused && runs:
		return s.streams.Delete(ctx, id)
	case paused || same && runs:
		return nil
	case !runs:
		return s.streams.Create(ctx, id, config)
	}
	if err = s.streams.Update(ctx, id, config); err == nil {
		return nil
	}
	if running, e := s.streams.Running(ctx); e == nil && !running[id] {
		s.settle(id, s.streams.Create(ctx, id, before))
	}
	return err
}

// possible tells which trigger of an import could not be started.
func (s *triggerStreams) possible(all []difference[*triggers.Trigger]) error {
	if err := s.available(); err != nil {
		return err
	}
	ctx := context.Background()
	running, err := s.streams.Running(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.now == nil {
			continue
		}
		id := c.now.resource.Id
		config, err := s.maker.Stream(c.now.resource, c.now.private.Unsubscribe)
		if err == nil {
			err = s.streams.Check(ctx, config)
		}
		if err == nil && running[id] && (c.old == nil || !s.has(running, c.old)) {
			err = streamsapi.ErrExists
		}
		if err != nil {
			return status.Errorf(codes.InvalidArgument, "trigger %q: %s", id, status.Convert(refusedStream(id, err)).Message())
		}
	}
	return nil
}

// follow makes a trigger what it is after an import. One that cannot be started is tried again, as after a restart.
func (s *triggerStreams) follow(ctx context.Context, c difference[*triggers.Trigger]) {
	err := s.apply(context.WithoutCancel(ctx), c.old, c.now)
	if err == nil || c.now == nil {
		return
	}
	id := c.now.resource.Id
	s.log.Error("The trigger cannot be started, and is tried again", "trigger_id", id, "error", err)
	s.settle(id, err)
}

// end ends a trigger for good, and makes the MQTT broker forget its session, which would go on collecting messages that nobody
// asks for.
func (s *triggerStreams) end(ctx context.Context, e *entry[*triggers.Trigger], runs bool) error {
	if runs {
		if err := s.streams.Delete(ctx, e.resource.Id); err != nil {
			return err
		}
	}
	s.settle(e.resource.Id, nil)
	s.forget(ctx, e.resource)
	return nil
}

// leave makes the MQTT broker forget the session under which a trigger listens no longer.
func (s *triggerStreams) leave(ctx context.Context, old, now *entry[*triggers.Trigger]) {
	from, err1 := stream.RuleOf(old.resource.Rule)
	to, err2 := stream.RuleOf(now.resource.Rule)
	if err1 == nil && err2 == nil && s.maker.Here() && from.User() != to.User() {
		s.forget(ctx, old.resource)
	}
}

func (s *triggerStreams) forget(ctx context.Context, t *triggers.Trigger) {
	err := func() error {
		config, err := s.maker.Farewell(t)
		if config == nil || err != nil {
			return err
		}
		id := farewellPrefix + t.Id
		if err := s.streams.Create(ctx, id, config); err != nil {
			return err
		}
		return errors.Join(s.connected(ctx, id), s.streams.Delete(ctx, id))
	}()
	if err != nil {
		s.log.Warn("The MQTT broker may keep the session of a trigger that is gone, with messages for it", "trigger_id", t.Id, "error", err)
	}
}

// await waits until a trigger reaches its MQTT broker, so that what is published after the answer is not missed, or until there
// is no point in waiting.
func (s *triggerStreams) await(ctx context.Context, id string) {
	if err := s.connected(ctx, id); err != nil && ctx.Err() == nil {
		s.log.Warn("The trigger runs, but is not connected yet and goes on trying", "trigger_id", id, "error", err)
	}
}

func (s *triggerStreams) connected(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.connect)
	defer cancel()
	return s.streams.Connected(ctx, id)
}

// refusedStream says in the words of the API why a stream cannot be made.
func refusedStream(id string, err error) error {
	var lints *streamsapi.LintError
	var refused *streamsapi.RefusedError
	switch {
	case errors.Is(err, streamsapi.ErrExists):
		return status.Errorf(codes.AlreadyExists, "stream %q runs already, and is not that of the trigger: end it by DELETE /streams/%s", id, id)
	case errors.As(err, &lints), errors.As(err, &refused):
		return invalid(wrong("rule", "makes a stream that is refused: %v", err))
	}
	return err
}
