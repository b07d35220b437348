// Package turns lets changes of the same thing happen one after the other, and those of others meanwhile.
package turns

import (
	"context"
	"sync"
)

// Turns are those of things that have IDs. The zero value is ready.
type Turns struct {
	mu    sync.Mutex
	taken map[string]chan struct{} // by ID; closed at the end of the turn; guarded by mu
}

// Take waits for the turns of some things, which are in the order of their IDs if there are several, until ctx ends. The
// caller ends them by the function that it returns.
func (t *Turns) Take(ctx context.Context, ids ...string) (end func(), err error) {
	var mine []string
	end = func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, id := range mine {
			close(t.taken[id])
			delete(t.taken, id)
		}
	}
	for _, id := range ids {
		for {
			others := t.try(id)
			if others == nil {
				mine = append(mine, id)
				break
			}
			select {
			case <-others:
			case <-ctx.Done():
				end()
				return nil, ctx.Err()
			}
		}
	}
	return end, nil
}

// try takes a turn, or returns what is closed when another has ended.
func (t *Turns) try(id string) (others <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if others, taken := t.taken[id]; taken {
		return others
	}
	if t.taken == nil {
		t.taken = map[string]chan struct{}{}
	}
	t.taken[id] = make(chan struct{})
	return nil
}
