package iotmqtt

import (
	"sync"
	"time"
)

// replays are the batches that the output rejected, each held back for a while
// before it is handed out again.
type replays struct {
	ready chan struct{} // capacity 1: it is worth looking again

	mu      sync.Mutex
	due     []*batch
	timers  map[*batch]*time.Timer
	stopped bool
}

// A batch is held back for 100 ms at first, then twice as long each time, like
// Benthos' own replays.
const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = time.Second
)

func newReplays() *replays {
	return &replays{ready: make(chan struct{}, 1), timers: make(map[*batch]*time.Timer)}
}

func (r *replays) add(b *batch) {
	delay := min(firstDelay<<min(b.attempts, 8), lastDelay)
	b.attempts++
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	r.timers[b] = time.AfterFunc(delay, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, waiting := r.timers[b]; !waiting {
			return // stopped meanwhile
		}
		delete(r.timers, b)
		r.due = append(r.due, b)
		r.wake()
	})
}

// wake has whoever waits look again.
func (r *replays) wake() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// next returns the batch that has been due for longest, nil if none is.
func (r *replays) next() *batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.due) == 0 {
		return nil
	}
	b := r.due[0]
	r.due = r.due[1:]
	return b
}

// stop returns the batches that were held back.
func (r *replays) stop() []*batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	held := r.due
	for b, t := range r.timers {
		t.Stop()
		held = append(held, b)
	}
	r.due, r.timers = nil, nil
	return held
}
