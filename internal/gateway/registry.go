package gateway

import (
	"slices"
	"strings"
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

// connectionID is how a connection of the gateway is called outside: its UUID,
// behind the name of the node where there is one.
func (g *Gateway) connectionID(id uuid.UUID) string {
	if g.cfg.NodeID == "" {
		return id.String()
	}
	return g.cfg.NodeID + "-" + id.String()
}

// NodeOf returns the name of the node that a connection ID begins with, "" if it
// has none or is no such ID.
func NodeOf(id string) string {
	node, _ := splitID(id)
	return node
}

// uuidLength is that of a UUID as text.
const uuidLength = 36

func splitID(id string) (node, own string) {
	if at := len(id) - uuidLength; at > 1 && id[at-1] == '-' {
		return id[:at-1], id[at:]
	}
	return "", id
}

// IsNode reports whether a gateway of this process has the name.
func (s *Set) IsNode(id string) bool {
	for _, g := range s.gateways {
		if g.cfg.NodeID == id {
			return true
		}
	}
	return false
}

// Connection finds an open connection by its ID.
func (s *Set) Connection(id string) (*Connection, bool) {
	node, own := splitID(id)
	u, err := uuid.Parse(own)
	if err != nil || u.String() != own { // no other spelling of it
		return nil, false
	}
	for _, g := range s.gateways {
		if g.cfg.NodeID != node {
			continue
		}
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
	slices.SortFunc(all, func(a, b *Connection) int { return strings.Compare(a.ID(), b.ID()) })
	return all
}

// Gateway finds a gateway by its label.
func (s *Set) Gateway(label string) (*Gateway, bool) {
	g, ok := s.gateways[label]
	return g, ok
}
