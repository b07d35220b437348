// Package order keeps the batches of an input in order on their way through a
// pipeline of several threads, which Benthos makes unless pipeline.threads is 1:
// there a batch can overtake the one before it between two components.
//
// The input gives each batch a Turn. The processor lets a batch go only after
// the output has taken the one before, unless its own thread has sent that on
// already, so that no two threads have a batch on the way at once.
//
// Something between the two that gathers batches, as an output with batching
// does, makes the output take none until more have come. The wait notices it,
// and lets them go: late is worse than out of order.
package order

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Turn is a batch's place in the order in which its input read.
type Turn struct {
	line   *Line
	before *passage // nil for the first
	own    *passage
}

// passage is what a turn and the next know of a batch.
type passage struct {
	taken  chan struct{} // closed when the output has it
	once   sync.Once
	thread atomic.Value // of the pipeline that let it go: its <-chan struct{}; nil before

	mu   sync.Mutex
	sent map[sending]int // guarded by mu
}

type sending struct {
	by      *Output
	eventID string
}

func (l *Line) turn(before *passage) *Turn {
	return &Turn{line: l, before: before, own: &passage{taken: make(chan struct{})}}
}

// Next is the turn of the batch after this one.
func (t *Turn) Next() *Turn { return t.line.turn(t.own) }

// Line is where the turns of one input queue.
type Line struct {
	stream *Stream
	ended  context.Context
	end    context.CancelFunc
}

// NewLine is the line of an input of stream s.
func NewLine(s *Stream) *Line {
	l := &Line{stream: s}
	l.ended, l.end = context.WithCancel(context.Background())
	return l
}

// First is the turn of the first batch.
func (l *Line) First() *Turn { return l.turn(nil) }

// End says that the input is being stopped. Benthos tells an output only after
// all batches are acknowledged, so that one which waits for something else would
// hold up the end of its stream.
func (l *Line) End() { l.end() }

// Ended is done once the batch's input is being stopped.
func (t *Turn) Ended() context.Context { return t.line.ended }

// Taken says that the output has the batch, or that it will never get it. It may
// be called more than once.
func (t *Turn) Taken() { t.own.once.Do(func() { close(t.own.taken) }) }

// NoteSent says that an output has sent a part of the batch and rejects the rest.
// The input will hand out the whole of it again: it cannot tell which of its
// messages were in that part.
func (t *Turn) NoteSent(by *Output, eventID string) {
	t.own.mu.Lock()
	defer t.own.mu.Unlock()
	if t.own.sent == nil {
		t.own.sent = make(map[sending]int)
	}
	t.own.sent[sending{by, eventID}]++
}

// WasSent reports whether the output has sent this part of the batch already. Parts
// may have the same event ID: each call of NoteSent answers for one.
func (t *Turn) WasSent(by *Output, eventID string) bool {
	t.own.mu.Lock()
	defer t.own.mu.Unlock()
	part := sending{by, eventID}
	if t.own.sent[part] == 0 {
		return false
	}
	t.own.sent[part]--
	return true
}

const (
	// transit is how long a batch may be on its way to outputs that have nothing
	// else to do, before something must be holding it. It is waited for once in the
	// life of a stream, and a machine that is busy with other things has threads stand
	// still for some hundred milliseconds.
	transit = time.Second
	// patience ends a wait for a batch that was lost on the way, as in a pipeline
	// that is being torn down, where nobody says so.
	patience = 5 * time.Second
)

// Wait returns when the batch before is taken. It does not wait for an output
// that does not say so: that would mean waiting for the acknowledgement. It
// returns false if it could not wait, since something holds that batch: this one
// may overtake it.
//
// ctx is the one that Benthos calls the processor with: it is the thread's own.
func (t *Turn) Wait(ctx context.Context) bool {
	thread := ctx.Done()
	defer t.own.thread.Store(thread)
	if t.before == nil || thread != nil && t.before.thread.Load() == thread {
		return true
	}
	select {
	case <-t.before.taken:
		return true
	default:
	}
	s := t.line.stream
	before := s.state()
	switch {
	case before.outputs == 0:
		return true
	case before.holds:
		return false
	}
	look, timeout := time.NewTicker(transit), time.NewTimer(patience)
	defer look.Stop()
	defer timeout.Stop()
	for {
		select {
		case <-look.C:
			now := s.state()
			if now == before && now.busy == 0 {
				s.hold()
				return false
			}
			before = now
		case <-t.before.taken:
			return true
		case <-timeout.C:
			return true
		case <-ctx.Done():
			return true
		}
	}
}

type turnKey struct{}

// Context carries the turn in the messages of its batch.
func (t *Turn) Context() context.Context {
	return context.WithValue(context.Background(), turnKey{}, t)
}

// Of is the turn of a batch, by its first message; nil if its input gave it none.
func Of(batch service.MessageBatch) *Turn {
	if len(batch) == 0 {
		return nil
	}
	m := batch[0]
	t, _ := m.Context().Value(turnKey{}).(*Turn)
	return t
}
