package control

import "sync"

// turns lets changes of one resource happen one after the other.
type turns struct {
	mu    sync.Mutex
	taken map[string]chan struct{} // by ID; closed at the end of the turn; guarded by mu
}

func newTurns() *turns { return &turns{taken: map[string]chan struct{}{}} }

// take waits for the turn of a resource. The caller ends it by the function that it returns.
func (t *turns) take(id string) (end func()) {
	for {
		t.mu.Lock()
		others, taken := t.taken[id]
		if !taken {
			mine := make(chan struct{})
			t.taken[id] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				defer t.mu.Unlock()
				delete(t.taken, id)
				close(mine)
			}
		}
		t.mu.Unlock()
		<-others
	}
}
