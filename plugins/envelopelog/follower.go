package envelopelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/iotcast/iotcast/plugins/internal/natsconfig"
)

const (
	// prefetch is how many messages NATS sends ahead.
	prefetch = 500
	// heartbeat is how often NATS gives a sign of life while it has nothing to send.
	// Two that are missing end the consumer: its server may be gone.
	heartbeat = time.Second
	// abandoned is after how long without a reader NATS removes a consumer, that of a
	// process that was killed.
	abandoned = 30 * time.Second
	// What a server did not give is looked for in the sequences from lookBack before the
	// last message that it gave, and in at most so many.
	lookBack = 1000
	maxLook  = 10_000
)

// errGap is that of a message that NATS has sent and that did not come.
var errGap = errors.New("a message was lost on the way from NATS")

// entry is what the stream has at a sequence.
type entry struct {
	subject  string
	header   nats.Header
	data     []byte
	sequence uint64
}

// follower reads a stream in its order, from where it is to begin, for good. It reads
// by a consumer of its own that acknowledges nothing, and makes another, behind the
// last message that came, whenever something is amiss: what NATS calls an ordered
// consumer. It looks at the stream each time, which that of nats.go does not: one
// that was made anew would never reach the sequence that it waits for.
type follower struct {
	js      jetstream.JetStream
	cfg     inputConfig
	log     *slog.Logger
	metrics inputMetrics
	out     chan entry // without copies
	leader  func(ctx context.Context, sequence uint64) (entry, error)

	reader  *reader
	created time.Time // of the stream; zero before the first look
	next    uint64    // sequence; 0: where cfg says
	read    bool      // something, since the stream was made
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	defer close(f.out)
	pause, troubled := shortestPause, false
	for {
		came, err := f.follow(ctx, func() {
			if troubled {
				troubled = false
				f.log.Info("Messages come from NATS again")
			}
		})
		if ctx.Err() != nil {
			return
		}
		if !troubled {
			troubled = true
			f.log.Warn("Reading from NATS has ended, and begins again where it was", "error", err)
		}
		f.metrics.restart.Incr(1)
		if came {
			pause = shortestPause
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, longestPause)
	}
}

// follow reads until something is amiss. It calls begun when it has a consumer.
func (f *follower) follow(ctx context.Context, begun func()) (came bool, err error) {
	consumer, err := f.consume(ctx)
	if err != nil {
		return false, err
	}
	defer f.remove(ctx, consumer)
	messages, err := consumer.Messages(
		jetstream.PullMaxMessages(prefetch), jetstream.PullHeartbeat(heartbeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return false, fmt.Errorf("reading from the consumer: %w", err)
	}
	defer messages.Stop()
	begun()
	for expected := uint64(1); ; expected++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return came, err
		}
		at, err := m.Metadata()
		if err != nil {
			return came, err
		}
		if at.Sequence.Consumer != expected {
			return came, errGap
		}
		if err := f.handle(ctx, entry{m.Subject(), m.Headers(), m.Data(), at.Sequence.Stream}); err != nil {
			return came, err
		}
		f.next, f.read, came = at.Sequence.Stream+1, true, true
	}
}

// handle hands an entry out unless it is a copy. What has no position was not written
// by our output, and is handed out as it is.
func (f *follower) handle(ctx context.Context, e entry) error {
	text := e.header.Get(positionHeader)
	if text == "" {
		return f.hand(ctx, e)
	}
	at, err := parsePosition(text)
	if err != nil {
		f.log.Warn("A message has a position that cannot be read, and is handed out without it", "error", err)
		return f.hand(ctx, e)
	}
	if last, some := f.reader.lacks(at); some {
		if err := f.catchUp(ctx, at.writer, last, e.sequence); err != nil {
			return err
		}
	}
	if !f.reader.takes(at, e.sequence) {
		f.metrics.copies.Incr(1)
		return nil
	}
	return f.hand(ctx, e)
}

// catchUp looks once more, in what the leader of the stream has, through the copies of
// a writer before a sequence. The last that was taken came from another.
func (f *follower) catchUp(ctx context.Context, writer string, last, before uint64) error {
	found := 0
	first := max(1, last-min(last, lookBack), before-min(before, maxLook))
	for sequence := first; sequence < before; sequence++ {
		e, err := f.leader(ctx, sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if errors.Is(err, nats.ErrPermissionViolation) {
			f.log.Error("A NATS server has not given messages that the stream has, and they are left out, since this user may not ask the leader: it needs to publish to $JS.API.STREAM.MSG.GET."+f.cfg.stream, "before_sequence", before)
			return nil
		}
		if err != nil {
			return fmt.Errorf("asking the leader of stream %q for sequence %d: %w", f.cfg.stream, sequence, err)
		}
		at, err := parsePosition(e.header.Get(positionHeader))
		if err != nil || at.writer != writer || !f.reader.takes(at, sequence) {
			continue
		}
		found++
		if err := f.hand(ctx, e); err != nil {
			return err
		}
	}
	if found > 0 {
		f.metrics.differing.Incr(int64(found))
		f.log.Warn("A NATS server has not given messages that the leader of the stream has, and they were read from there: what it has of the stream may differ, as with NATS 2.9 once the network was cut", "messages", found, "before_sequence", before)
	}
	return nil
}

// hand waits until the input has room.
func (f *follower) hand(ctx context.Context, e entry) error {
	select {
	case f.out <- e:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askLeader is the usual leader. The stream has allow_direct off, so that
// no other replica answers.
func askLeader(js jetstream.JetStream, name string) func(context.Context, uint64) (entry, error) {
	return func(ctx context.Context, sequence uint64) (entry, error) {
		ctx, cancel := context.WithTimeout(ctx, natsconfig.RequestTimeout)
		defer cancel()
		stream, err := js.Stream(ctx, name)
		if err != nil {
			return entry{}, err
		}
		m, err := stream.GetMsg(ctx, sequence)
		if errors.Is(err, context.DeadlineExceeded) {
			// NATS refuses without an answer, and tells the connection.
			if refusal := js.Conn().LastError(); errors.Is(refusal, nats.ErrPermissionViolation) {
				err = refusal
			}
		}
		if err != nil {
			return entry{}, err
		}
		return entry{m.Subject, m.Header, m.Data, m.Sequence}, nil
	}
}

// consume makes the consumer.
func (f *follower) consume(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, natsconfig.RequestTimeout)
	defer cancel()
	stream, err := f.js.Stream(ctx, f.cfg.stream)
	if err != nil {
		return nil, fmt.Errorf("asking for stream %q: %w", f.cfg.stream, err)
	}
	f.look(stream.CachedInfo())
	config := jetstream.ConsumerConfig{
		Name:              "iotcast-" + nuid.Next(),
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: abandoned,
	}
	if f.next > 0 {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, f.next
	} else {
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &f.cfg.time
	}
	if len(f.cfg.subjects) == 1 {
		config.FilterSubject = f.cfg.subjects[0]
	} else {
		config.FilterSubjects = f.cfg.subjects
	}
	consumer, err := stream.CreateConsumer(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("making a consumer of stream %q: %w", f.cfg.stream, err)
	}
	return consumer, nil
}

// look decides where to begin, by what the stream is now.
func (f *follower) look(info *jetstream.StreamInfo) {
	switch {
	case f.created.IsZero():
		f.next = f.cfg.first(info.State.LastSeq)
	case !info.Created.Equal(f.created):
		f.log.Warn("The stream was made anew: it is read from its beginning", "created", info.Created)
		f.next, f.read, f.reader = 1, false, newReader()
	case f.read && f.next < info.State.FirstSeq:
		lost := info.State.FirstSeq - f.next
		f.metrics.removed.Incr(int64(lost))
		f.reader = newReader()
		f.log.Warn("NATS has removed messages that were not read yet: a longer max_age, or a larger limit of the stream, would have kept them", "messages", lost)
	}
	f.created = info.Created
}

// remove leaves no consumer behind.
func (f *follower) remove(ctx context.Context, c jetstream.Consumer) {
	if !f.js.Conn().IsConnected() {
		return // NATS removes it by itself
	}
	ctx, cancel := pastDeadline(ctx)
	defer cancel()
	_ = f.js.DeleteConsumer(ctx, f.cfg.stream, c.CachedInfo().Name)
}
