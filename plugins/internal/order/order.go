// Package order keeps the batches of an input in order on their way through a
// pipeline of several threads, which Benthos makes unless pipeline.threads is 1:
// there a batch can overtake the one before it between two components.
//
// The input gives each batch a Turn. The processor lets a batch go only after
// the output has taken the one before, so that no two are on the way between
// them at once.
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
	before <-chan struct{} // closed when the batch before is taken
	taken  chan struct{}
	once   sync.Once
}

// Next is the turn of the batch after this one.
func (t *Turn) Next() *Turn {
	return &Turn{line: t.line, before: t.taken, taken: make(chan struct{})}
}

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
func (l *Line) First() *Turn { return &Turn{line: l, taken: make(chan struct{})} }

// End says that the input is being stopped. Benthos tells an output only after
// all batches are acknowledged, so that one which waits for something else would
// hold up the end of its stream.
func (l *Line) End() { l.end() }

// Ended is done once the batch's input is being stopped.
func (t *Turn) Ended() context.Context { return t.line.ended }

// Taken says that the output has the batch, or that it will never get it. It may
// be called more than once.
func (t *Turn) Taken() { t.once.Do(func() { close(t.taken) }) }

// patience ends a wait for a batch that was lost on the way, as in a pipeline
// that is being torn down, where nobody says so.
const patience = 5 * time.Second

// Wait returns when the batch before is taken. It does not wait for an output
// that does not say so: that would mean waiting for the acknowledgement.
func (t *Turn) Wait(ctx context.Context) {
	if t.before == nil || t.line.stream.outputs.Load() == 0 {
		return
	}
	select {
	case <-t.before:
		return
	default:
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case <-t.before:
	case <-ctx.Done():
	case <-timeout.C:
	}
}

type turnKey struct{}

// Context carries the turn in the messages of its batch.
func (t *Turn) Context() context.Context {
	return context.WithValue(context.Background(), turnKey{}, t)
}

// Of is the turn of a batch, nil if its input gave it none.
func Of(batch service.MessageBatch) *Turn {
	if len(batch) == 0 {
		return nil
	}
	t, _ := batch[0].Context().Value(turnKey{}).(*Turn)
	return t
}

// Stream is what the components of one stream know of each other.
type Stream struct {
	outputs atomic.Int64 // that call Turn.Taken
}

type streamKey string

// StreamOf is the Stream that a component belongs to.
func StreamOf(res *service.Resources) *Stream {
	s, _ := res.GetOrSetGeneric(streamKey(res.StreamID()), new(Stream))
	return s.(*Stream)
}

// AddOutput says that one more, or with -1 one less, output of the stream calls
// Turn.Taken.
func (s *Stream) AddOutput(n int64) { s.outputs.Add(n) }
