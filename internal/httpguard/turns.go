package httpguard

import (
	"context"
	"sync"
)

// turns lets changes of the same stream happen one after the other. Of two at once,
// Benthos leaves one stream that runs for ever and that it no longer knows: the
// second removes what the first has made, in the belief that it is the old one.
type turns struct {
	mu    sync.Mutex
	taken map[string]chan struct{} // by stream ID; closed at the end of the turn
}

// take waits for the turns of some streams, in the order of their IDs if there are
// several, until ctx ends.
func (t *turns) take(ctx context.Context, ids ...string) (end func(), err error) {
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
			t.mu.Lock()
			others, taken := t.taken[id]
			if !taken {
				t.taken[id] = make(chan struct{})
				mine = append(mine, id)
			}
			t.mu.Unlock()
			if !taken {
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
