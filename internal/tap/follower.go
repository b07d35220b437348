package tap

import (
	"context"
	"errors"
	"slices"
)

// What waits for a follower, and how many there are.
const (
	maxQueue      = 2000    // messages and ways
	maxQueueBytes = 8 << 20 // of payload and topic; messages and ways of all followers share theirs
	maxTakenBytes = 1 << 20 // at once: each follower encodes what it takes for itself
	maxFollowers  = 64      // each of them looks at each message
)

// The errors of Next, beside that of its context.
var (
	ErrTooMany = errors.New("too many follow already: at most 64 can at a time")
	ErrClosed  = errors.New("the follower is closed")
)

// Follower is told of messages. Its methods may be called concurrently.
type Follower struct {
	tap    *Tap
	filter *filter
	ready  chan struct{} // capacity 1: there may be something to tell
	closed chan struct{}

	// Guarded by tap.mu.
	err     error // of Next; nil: it follows
	queued  []Message
	ways    []Way
	bytes   int
	skipped int
}

// Follow begins to follow. The follower must be closed. At most 64 can follow at a time: Next of one more says so.
func (t *Tap) Follow(f Filter) *Follower {
	made := &Follower{tap: t, filter: newFilter(f), ready: make(chan struct{}, 1), closed: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.following()
	if len(before) >= maxFollowers {
		made.err = ErrTooMany
		return made
	}
	after := append(slices.Clone(before), made)
	t.followers.Store(&after)
	t.receives.Store(true)
	return made
}

// following are those who follow.
func (t *Tap) following() []*Follower {
	if all := t.followers.Load(); all != nil {
		return *all
	}
	return nil
}

// Err is why there is nothing to wait for: ErrTooMany or ErrClosed.
func (f *Follower) Err() error {
	f.tap.mu.Lock()
	defer f.tap.mu.Unlock()
	return f.err
}

// Next waits for something to tell: messages that were received, ways that are done or will not be followed any longer, and
// how many of both were left out since the last call for want of room. Where much waits, it returns the oldest, and leaves the
// others to the next call. What it returns must not be changed. The error is ctx's, ErrTooMany or ErrClosed.
func (f *Follower) Next(ctx context.Context) (received []Message, ways []Way, skipped int, err error) {
	for {
		if received, ways, skipped, err = f.take(); err != nil || len(received)+len(ways)+skipped > 0 {
			return received, ways, skipped, err
		}
		select {
		case <-f.ready:
		case <-f.closed:
		case <-ctx.Done():
			return nil, nil, 0, ctx.Err()
		}
	}
}

func (f *Follower) take() (received []Message, ways []Way, skipped int, err error) {
	f.tap.mu.Lock()
	defer f.tap.mu.Unlock()
	taken, messages := 0, 0
	for ; messages < len(f.queued) && taken < maxTakenBytes; messages++ {
		taken += f.queued[messages].size()
	}
	done := 0
	for ; done < len(f.ways) && taken < maxTakenBytes; done++ {
		taken += f.ways[done].Message.size()
	}
	received, f.queued = f.queued[:messages:messages], f.queued[messages:]
	ways, f.ways = f.ways[:done:done], f.ways[done:]
	f.bytes -= taken
	skipped, f.skipped = f.skipped, 0
	return received, ways, skipped, f.err
}

// Close ends it.
func (f *Follower) Close() {
	t := f.tap
	t.mu.Lock()
	defer t.mu.Unlock()
	if errors.Is(f.err, ErrClosed) {
		return
	}
	f.err = ErrClosed
	f.queued, f.ways, f.skipped = nil, nil, 0
	close(f.closed)
	after := slices.DeleteFunc(slices.Clone(t.following()), func(other *Follower) bool { return other == f })
	if len(after) > 0 {
		t.followers.Store(&after)
		return
	}
	t.followers.Store(nil)
	t.receives.Store(t.latest.kept())
	t.forgetWays()
}

// tell tells of a message that was received, unless it is not known yet whether it goes where it must. The caller must hold
// tap.mu.
func (f *Follower) tell(m *Message) {
	if f.filter.elsewhere() {
		return
	}
	if f.room(m.size()) {
		f.queued = append(f.queued, *m)
	}
	f.signal()
}

// way tells of one. The caller must hold tap.mu.
func (f *Follower) way(w *way) {
	if f.err != nil || !f.filter.passes(&w.Way) {
		return
	}
	if f.room(w.Message.size()) {
		f.ways = append(f.ways, w.Way)
	}
	f.signal()
}

// room reports whether there is room for another, and else counts it. The caller must hold tap.mu.
func (f *Follower) room(bytes int) bool {
	if len(f.queued)+len(f.ways) >= maxQueue || f.bytes+bytes > maxQueueBytes {
		f.skipped++
		return false
	}
	f.bytes += bytes
	return true
}

// skip counts what is left out. The caller must hold tap.mu.
func (f *Follower) skip() {
	f.skipped++
	f.signal()
}

func (f *Follower) signal() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}
