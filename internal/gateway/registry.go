package gateway

import (
	"slices"
	"sync"

	"github.com/google/uuid"
)

// registry is the open connections of a gateway.
type registry struct {
	mu   sync.Mutex
	byID map[uuid.UUID]*Connection
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

// Connection finds an open connection by its ID.
func (s *Set) Connection(id string) (*Connection, bool) {
	u, err := uuid.Parse(id)
	if err != nil || u.String() != id { // no other spelling of it
		return nil, false
	}
	for _, g := range s.gateways {
		if c, ok := g.connections.find(u); ok {
			return c, true
		}
	}
	return nil, false
}

// Connections are the open connections of all gateways in the order of their
// IDs, which is that of connecting.
func (s *Set) Connections() []*Connection {
	var all []*Connection
	for _, g := range s.gateways {
		all = append(all, g.connections.all()...)
	}
	slices.SortFunc(all, func(a, b *Connection) int { return slices.Compare(a.id[:], b.id[:]) })
	return all
}

// Gateway finds a gateway by its label.
func (s *Set) Gateway(label string) (*Gateway, bool) {
	g, ok := s.gateways[label]
	return g, ok
}
