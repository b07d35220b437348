package order

import (
	"context"
	"runtime"
	"sync"
	"time"
	"weak"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Stream is what the components of one stream know of each other.
type Stream struct {
	mu      sync.Mutex
	now     state
	gathers bool // something has put batches together before an output: it holds for good
}

// state is that of a stream's outputs.
type state struct {
	outputs int    // that say what they take
	busy    int    // those of them that are not connected, and the batches that they write
	taken   uint64 // batches so far
	holds   bool   // something holds batches back
}

func (s *Stream) state() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *Stream) hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.holds = true
}

// Output is an output that says what it takes.
type Output struct {
	stream *Stream
	ready  bool // guarded by stream.mu
	closed bool // guarded by stream.mu
}

// AddOutput is called when the output is made, and not once it is connected: an
// input that resumes a session may have batches on their way before that.
func (s *Stream) AddOutput() *Output {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.outputs++
	s.now.busy++
	return &Output{stream: s}
}

// Ready says whether the output is connected.
func (o *Output) Ready(ready bool) {
	s := o.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.ready == ready || o.closed {
		return
	}
	o.ready = ready
	if ready {
		s.now.busy--
	} else {
		s.now.busy++
	}
}

// Take says that the output has a batch, and returns its turn, or one of them if
// something has put batches together, or nil. The output calls done when it can
// take the next.
func (o *Output) Take(batch service.MessageBatch) (first *Turn, done func()) {
	gathered := false
	for i := range batch {
		switch t := Of(batch[i:]); {
		case t == nil:
		case first == nil:
			first = t
			t.Taken()
		case t != first:
			// Put together before the processor, they are one batch to it.
			gathered = gathered || t.own.thread.Load() != nil
			t.Taken()
		}
	}
	s := o.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gathers = s.gathers || gathered
	s.now.holds = s.gathers
	s.now.taken++
	s.now.busy++
	return first, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now.busy--
	}
}

// TakeInTurn is Take for an output that writes several batches at a time. Benthos gives
// each to a goroutine of its own, and these may overtake each other on their way to
// the output. It waits until the batches before are taken, and calls queue, which puts
// this one behind them; the output has it then, and can take the next.
func (o *Output) TakeInTurn(ctx context.Context, batch service.MessageBatch, queue func() error) error {
	if err := awaitTurn(ctx, batch); err != nil {
		return err
	}
	if err := queue(); err != nil {
		return err
	}
	_, done := o.Take(batch)
	done()
	return nil
}

// awaitTurn waits until all batches before are taken, or must be lost.
func awaitTurn(ctx context.Context, batch service.MessageBatch) error {
	own := make(map[*passage]bool, 1)
	var turns []*Turn
	for i := range batch {
		if t := Of(batch[i:]); t != nil && !own[t.own] {
			own[t.own] = true
			turns = append(turns, t)
		}
	}
	for _, t := range turns {
		if t.before == nil || own[t.before] {
			continue
		}
		select {
		case <-t.before.taken:
			continue
		default:
		}
		timeout := time.NewTimer(patience)
		select {
		case <-t.before.taken:
		case <-timeout.C:
		case <-ctx.Done():
		}
		timeout.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// Close says that the output takes nothing any more.
func (o *Output) Close() {
	o.Ready(true)
	s := o.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if !o.closed {
		o.closed = true
		s.now.outputs--
	}
}

// streams are those of a process, by ID. Benthos keeps what it is given for as
// long as it runs, and does not say when a stream has gone, or was never made
// since one of its components could not be: the last component that goes takes
// the Stream with it.
type streams struct {
	mu   sync.Mutex
	byID map[string]weak.Pointer[Stream]
}

type streamsKey struct{}

// StreamOf is the Stream that a component belongs to.
func StreamOf(res *service.Resources) *Stream {
	all, _ := res.GetOrSetGeneric(streamsKey{}, &streams{byID: make(map[string]weak.Pointer[Stream])})
	return all.(*streams).of(res.StreamID())
}

func (all *streams) of(id string) *Stream {
	all.mu.Lock()
	defer all.mu.Unlock()
	if s := all.byID[id].Value(); s != nil {
		return s
	}
	s := new(Stream)
	all.byID[id] = weak.Make(s)
	runtime.AddCleanup(s, all.forget, id)
	return s
}

func (all *streams) forget(id string) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.byID[id].Value() == nil {
		delete(all.byID, id)
	}
}
