package gateway

import (
	"sync"

	"github.com/google/uuid"
)

// registry holds the open connections of a gateway.
type registry struct {
	mu   sync.Mutex
	byID map[uuid.UUID]*Connection // guarded by mu
}

func (r *registry) add(c *Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID = make(map[uuid.UUID]*Connection)
	}
	r.byID[c.id] = c
}

func (r *registry) remove(c *Connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, c.id)
}

func (r *registry) find(id uuid.UUID) (*Connection, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.byID[id]
	return c, ok
}

func (r *registry) all() []*Connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Connection, 0, len(r.byID))
	for _, c := range r.byID {
		all = append(all, c)
	}
	return all
}
