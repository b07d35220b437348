package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/iotcast/iotcast/internal/listen"
)

// Change is a change of a set to other configurations. All that can fail has been done,
// but nothing is in force yet. It must be applied or discarded, and nothing else may
// change the set before.
type Change struct {
	set      *Set
	gateways map[string]*Gateway // all that there will be, by label
	steps    []step              // one for each of them
	gone     []*Gateway          // that there will not be any more
	log      *slog.Logger
}

// step is what a change does to one gateway.
type step struct {
	gateway *Gateway
	cfg     Config
	socket  *listen.Listener // for the gateway's new front; nil: its front stays
	bound   bool             // prepare has bound the socket
}

// Prepare binds the sockets that the configurations need. With [Change.Apply] they
// replace all that there is. A gateway with the same label stays, and so does a route
// with the same path. A socket stays bound if its address passes to another gateway. The
// error names the gateway.
func (s *Set) Prepare(configs []Config, observe Observe, log *slog.Logger) (*Change, error) {
	c := &Change{set: s, gateways: make(map[string]*Gateway), log: log}
	for _, cfg := range configs {
		g := s.all()[cfg.Label]
		if g == nil {
			g = newGateway(cfg, observe, log)
		}
		cfg.NodeID = g.node
		c.gateways[cfg.Label] = g
		c.steps = append(c.steps, step{gateway: g, cfg: cfg})
	}
	for label, g := range s.all() {
		if c.gateways[label] == nil {
			c.gone = append(c.gone, g)
		}
	}
	free := c.freed()
	for i := range c.steps {
		if err := c.steps[i].prepare(free, log); err != nil {
			c.Discard()
			return nil, fmt.Errorf("binding websocket_gateways %q %w", c.steps[i].cfg.Label, err)
		}
	}
	return c, nil
}

// freed returns the sockets that gateways give up, by address.
func (c *Change) freed() map[string]*listen.Listener {
	free := make(map[string]*listen.Listener)
	give := func(g *Gateway) { free[g.cfg().Address] = g.front.Load().listener }
	for _, g := range c.gone {
		give(g)
	}
	for _, st := range c.steps {
		if st.gateway.front.Load() != nil && st.gateway.cfg().Address != st.cfg.Address {
			give(st.gateway)
		}
	}
	return free
}

// prepare finds the socket for a new front: the gateway's own, one that another gives up,
// or a new one. It finds none if the front stays.
func (st *step) prepare(free map[string]*listen.Listener, log *slog.Logger) (err error) {
	if f := st.gateway.front.Load(); f != nil {
		before := st.gateway.cfg()
		if before.front() == st.cfg.front() {
			return nil
		}
		if before.Address == st.cfg.Address {
			st.socket = f.listener
			return nil
		}
	}
	if l, ok := free[st.cfg.Address]; ok {
		delete(free, st.cfg.Address)
		st.socket = l
		return nil
	}
	st.socket, err = bind(&st.cfg, log)
	st.bound = err == nil
	return err
}

// Discard closes the sockets that Prepare has bound.
func (c *Change) Discard() {
	for _, st := range c.steps {
		if st.bound {
			_ = st.socket.Close()
		}
	}
}

// Route returns an error if there will be no such route. It says what there will be
// instead.
func (c *Change) Route(label, path string) error {
	paths := make(map[string][]string)
	for _, st := range c.steps {
		for _, rc := range st.cfg.Routes {
			paths[st.cfg.Label] = append(paths[st.cfg.Label], rc.Path)
		}
	}
	return missing(label, path, paths)
}

// Apply puts the configurations in force. Gateways and routes that they do not have are
// closed in the background. after is called when nothing of the configurations before is
// in use any more.
func (c *Change) Apply(after func()) {
	var left []*front // they accept no more
	taken := make(map[*listen.Listener]bool)
	for _, st := range c.steps {
		taken[st.socket] = st.socket != nil && !st.bound
	}
	leave := func(g *Gateway) { // if another front is to have its socket
		if f := g.front.Load(); f != nil && taken[f.listener] {
			f.leave()
		}
	}
	for _, g := range c.gone {
		leave(g)
	}
	for _, st := range c.steps {
		leave(st.gateway)
	}
	var routes []*Route
	var before []*terms
	for _, st := range c.steps {
		gone, replaced := st.gateway.configure(st.cfg)
		routes, before = append(routes, gone...), append(before, replaced...)
		for _, r := range gone {
			r.removed.Store(true)
		}
		if st.socket == nil {
			continue
		}
		old := st.gateway.front.Load()
		st.gateway.serve(st.socket)
		if old != nil {
			if !old.leaving.Load() {
				old.close()
			}
			left = append(left, old)
		}
	}
	c.set.gateways.Store(&c.gateways)
	for _, g := range c.gone {
		g.log.Info("Gateway removed, its connections are closed", "connections", len(g.connections.all()))
		if f := g.front.Load(); !f.leaving.Load() {
			f.close()
		}
	}
	c.set.ending.Go(func() {
		c.end(routes, before, left)
		after()
	})
}

// end ends what a change has left behind, and waits until nobody uses it.
func (c *Change) end(routes []*Route, before []*terms, left []*front) {
	var all sync.WaitGroup
	within := func(patience time.Duration, f func(context.Context)) {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(c.set.breakOff, patience)
			defer cancel()
			f(ctx)
		})
	}
	const goodbye = closeTimeout + time.Second
	for _, r := range routes {
		within(goodbye, r.remove)
	}
	for _, g := range c.gone {
		within(g.cfg().Shutdown.Drain+goodbye, g.Close)
	}
	for _, f := range left {
		within(goodbye, f.end)
	}
	all.Wait()
	for _, t := range before {
		t.retire()
	}
	for _, r := range routes {
		r.now.Load().retire()
	}
	for _, g := range c.gone {
		for _, r := range g.Routes() {
			r.now.Load().retire()
		}
	}
}
