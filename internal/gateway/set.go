package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// Set is the gateways of a process, by label.
type Set struct {
	gateways map[string]*Gateway
}

type setKey struct{}

// Key is the key under which the process keeps its *Set for the outputs.
var Key any = setKey{}

// NewSet returns the set of the given gateways.
func NewSet(gateways ...*Gateway) *Set {
	s := &Set{gateways: make(map[string]*Gateway)}
	for _, g := range gateways {
		s.gateways[g.Label()] = g
	}
	return s
}

// All are the gateways, sorted by label.
func (s *Set) All() []*Gateway {
	all := make([]*Gateway, 0, len(s.gateways))
	for _, label := range s.labels() {
		all = append(all, s.gateways[label])
	}
	return all
}

func (s *Set) labels() []string {
	labels := make([]string, 0, len(s.gateways))
	for l := range s.gateways {
		labels = append(labels, l)
	}
	slices.Sort(labels)
	return labels
}

// Route finds a route. The error for an unknown gateway or path lists those
// that there are.
func (s *Set) Route(label, path string) (*Route, error) {
	g, ok := s.gateways[label]
	switch {
	case !ok && len(s.gateways) == 0:
		return nil, fmt.Errorf("gateway %.100q does not exist: this process has none, add it to websocket_gateways in the root config", label)
	case !ok:
		return nil, fmt.Errorf("gateway %.100q does not exist: there is %s (see websocket_gateways in the root config)", label, quoted(s.labels()))
	}
	r, ok := g.routes[path]
	if !ok {
		return nil, fmt.Errorf("path %.100q does not exist on gateway %q: there is %s (see its routes in the root config)", path, label, quoted(g.Paths()))
	}
	return r, nil
}

// MessageBytes is the size of the largest message that every route can hold for a
// connection, 0 if there is none.
func (s *Set) MessageBytes() int64 {
	least := int64(0)
	for _, g := range s.gateways {
		for _, r := range g.routes {
			if limit := r.Limits.QueueBytes; least == 0 || limit < least {
				least = limit
			}
		}
	}
	return least
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}

// Close closes all gateways; see [Gateway.Close].
func (s *Set) Close(ctx context.Context) {
	var all sync.WaitGroup
	for _, g := range s.gateways {
		all.Go(func() { g.Close(ctx) })
	}
	all.Wait()
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
