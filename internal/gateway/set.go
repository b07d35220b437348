package gateway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
)

// Set is the gateways of a process, by label. They may change while it runs.
type Set struct {
	gateways atomic.Pointer[map[string]*Gateway] // by label; another map replaces it as a whole

	ending   sync.WaitGroup     // what changes have left behind, and what has yet to end
	breakOff context.Context    // when it ends, all of that must end at once
	cancel   context.CancelFunc // of breakOff
}

type setKey struct{}

// Key is the key under which the process keeps its *Set for the outputs.
var Key any = setKey{}

// NewSet returns the set of the given gateways.
func NewSet(gateways ...*Gateway) *Set {
	s, all := new(Set), make(map[string]*Gateway)
	for _, g := range gateways {
		all[g.Label()] = g
	}
	s.gateways.Store(&all)
	s.breakOff, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *Set) all() map[string]*Gateway { return *s.gateways.Load() }

// All returns the gateways, sorted by label.
func (s *Set) All() []*Gateway {
	gateways := s.all()
	all := make([]*Gateway, 0, len(gateways))
	for _, label := range slices.Sorted(maps.Keys(gateways)) {
		all = append(all, gateways[label])
	}
	return all
}

// Route finds a route by its gateway's label and its path. The error for an unknown
// gateway or path lists those that there are.
func (s *Set) Route(label, path string) (*Route, error) {
	if g, ok := s.all()[label]; ok {
		if r, ok := g.Routes()[path]; ok {
			return r, nil
		}
	}
	paths := make(map[string][]string)
	for label, g := range s.all() {
		paths[label] = g.Paths()
	}
	return nil, missing(label, path, paths)
}

// missing returns an error if the route is not among gateways, which are paths by label.
// It says what there is instead.
func missing(label, path string, gateways map[string][]string) error {
	paths, ok := gateways[label]
	switch {
	case !ok && len(gateways) == 0:
		return fmt.Errorf("gateway %.100q does not exist: this process has none, add it to websocket_gateways in the root config", label)
	case !ok:
		return fmt.Errorf("gateway %.100q does not exist: there is %s (see websocket_gateways in the root config)", label, quoted(slices.Sorted(maps.Keys(gateways))))
	case !slices.Contains(paths, path):
		return fmt.Errorf("path %.100q does not exist on gateway %q: there is %s (see its routes in the root config)", path, label, quoted(paths))
	}
	return nil
}

// MessageBytes returns the size, in bytes, of the largest message that every route can
// hold for a connection. It is 0 if there are no routes.
func (s *Set) MessageBytes() int64 {
	least := int64(0)
	for _, g := range s.all() {
		for _, r := range g.Routes() {
			if limit := r.MessageBytes(); least == 0 || limit < least {
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

// Close closes all gateways; see [Gateway.Close]. It waits, until ctx ends, for what
// changes have left behind. No change may be applied any more.
func (s *Set) Close(ctx context.Context) {
	var all sync.WaitGroup
	for _, g := range s.all() {
		all.Go(func() { g.Close(ctx) })
	}
	all.Wait()
	defer context.AfterFunc(ctx, s.cancel)()
	ended := make(chan struct{})
	go func() {
		s.ending.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		s.cancel()
	case <-ctx.Done(): // a handler may hang
	}
}

// IsNode reports whether id is the node ID of a gateway of this process.
func (s *Set) IsNode(id string) bool {
	for _, g := range s.all() {
		if g.node == id {
			return true
		}
	}
	return false
}

// Connection finds an open connection by its ID.
func (s *Set) Connection(id string) (*Connection, bool) {
	node, own := splitID(id)
	u, err := uuid.Parse(own)
	if err != nil || u.String() != own { // an ID has one spelling
		return nil, false
	}
	for _, g := range s.all() {
		if g.node != node {
			continue
		}
		if c, ok := g.connections.find(u); ok {
			return c, true
		}
	}
	return nil, false
}

// Connections returns the open connections of all gateways, sorted by their IDs, and so
// in the order in which they connected.
func (s *Set) Connections() []*Connection {
	var all []*Connection
	for _, g := range s.all() {
		all = append(all, g.connections.all()...)
	}
	slices.SortFunc(all, func(a, b *Connection) int { return strings.Compare(a.ID(), b.ID()) })
	return all
}

// Gateway finds a gateway by its label.
func (s *Set) Gateway(label string) (*Gateway, bool) {
	g, ok := s.all()[label]
	return g, ok
}
