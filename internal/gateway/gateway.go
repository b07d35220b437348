// Package gateway accepts WebSocket connections (RFC 6455) on the routes of a
// listener, and broadcasts to them. The handshake is coder/websocket's; frames, and
// all that comes after it, are fanout's.
//
// A request passes gateway.go, route.go, authorise.go (with address.go and
// admission.go) and handshake.go, and becomes a Connection. Each file stands on
// those below it: shared.go is what the routes of a gateway have in common, terms.go
// what holds on a route now, and set.go finds what there is. change.go changes it.
package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway/viewer"
	"github.com/iotcast/iotcast/internal/listen"
)

// Gateway is a listener with its routes. Streams come and go beneath it, and its
// configuration can change while its connections stay; see [Set.Prepare].
type Gateway struct {
	*shared
	observe Observe
	log     *slog.Logger
	unknown Observer // of requests that find no route
	table   atomic.Pointer[table]
	front   atomic.Pointer[front]
	closing sync.Once
}

// table is what a gateway serves now, by path. It is never written to: another takes its
// place.
type table struct {
	routes map[string]*Route
	pages  map[string]http.Handler
}

// Start binds the address and begins to accept connections.
func Start(cfg Config, observe Observe, log *slog.Logger) (*Gateway, error) {
	l, err := bind(&cfg, log)
	if err != nil {
		return nil, fmt.Errorf("binding websocket_gateways %q %w", cfg.Label, err)
	}
	g := newGateway(cfg, observe, log)
	g.configure(cfg)
	g.serve(l)
	return g, nil
}

// newGateway makes one that does not listen yet, and has no routes.
func newGateway(cfg Config, observe Observe, log *slog.Logger) *Gateway {
	g := &Gateway{
		shared:  &shared{label: cfg.Label, node: cfg.NodeID, admission: newAdmission()},
		observe: observe,
		log:     log.With("gateway", cfg.Label),
		unknown: observe(cfg.Label, ""),
	}
	g.table.Store(new(table))
	return g
}

// configure has the gateway go on with another configuration, but for its front. It
// returns the routes that are not among its routes any more, which must be closed, and
// the terms that nothing begins by any more.
func (g *Gateway) configure(cfg Config) (gone []*Route, before []*terms) {
	g.config.Store(&cfg)
	g.admission.bound(cfg.Admission)
	old, now := g.table.Load().routes, &table{routes: make(map[string]*Route)}
	for _, rc := range cfg.Routes {
		r := old[rc.Path]
		if r == nil {
			r = newRoute(g.shared, rc, g.observe(cfg.Label, rc.Path), g.log.With("path", rc.Path))
		} else {
			before = append(before, r.configure(rc))
		}
		now.routes[rc.Path] = r
	}
	for path, r := range old {
		if now.routes[path] == nil {
			gone = append(gone, r)
		}
	}
	if cfg.Viewer != "" {
		now.pages = viewer.Pages(cfg.Viewer, "iotcast · "+cfg.Label, viewed(cfg.Routes), cfg.Broker)
	}
	g.table.Store(now)
	return gone, before
}

// viewed is what the viewer's page must know of the routes, sorted by their paths.
func viewed(routes []RouteConfig) []viewer.Route {
	all := make([]viewer.Route, 0, len(routes))
	for _, rc := range routes {
		r := viewer.Route{Path: rc.Path, History: rc.History.Bounds != fanout.History{}}
		if t := rc.Tokens; t != nil {
			r.Tokens, r.QueryParameter, r.SubprotocolPrefix = true, t.QueryParameter, t.SubprotocolPrefix
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b viewer.Route) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// serve begins to accept connections, as the configuration has it.
func (g *Gateway) serve(l *listen.Listener) {
	cfg := g.cfg()
	g.failed.Store(nil)
	g.front.Store(newFront(cfg, l, g, func(err error) {
		g.failed.Store(&err)
		g.log.Error("Gateway stopped listening", "error", err)
	}, g.log))
	g.log.Info("Gateway listening", "address", g.Addr().String(), "tls", cfg.TLS != nil, "routes", strings.Join(g.Paths(), " "))
}

// ServeHTTP answers every request to the gateway. Paths match as they are
// written: what a proxy could read in two ways, such as // or %2e, finds nothing.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := req.URL.Path
	if req.URL.RawPath != "" {
		path = ""
	}
	now := g.table.Load()
	if r, ok := now.routes[path]; ok {
		r.ServeHTTP(w, req)
		return
	}
	if page, ok := now.pages[path]; ok {
		page.ServeHTTP(w, req)
		return
	}
	g.unknown.Handshake(http.StatusNotFound, "path")
	http.NotFound(w, req)
}

// Addr is the address that the gateway listens on.
func (g *Gateway) Addr() net.Addr { return g.front.Load().listener.Addr() }

// Label is the name by which outputs find the gateway.
func (g *Gateway) Label() string { return g.label }

// Bindings say what service accounts may do on the gateway.
func (g *Gateway) Bindings() access.Bindings { return g.cfg().Bindings }

// Paths are the paths of the routes, sorted.
func (g *Gateway) Paths() []string { return g.table.Load().paths() }

func (t *table) paths() []string { return slices.Sorted(maps.Keys(t.routes)) }

// Routes are the routes of the gateway, by path.
func (g *Gateway) Routes() map[string]*Route { return g.table.Load().routes }

// Places are how many connections there are, with those whose handshake is under way, and how many there may be: 0 for no
// limit.
func (g *Gateway) Places() (taken, most int) {
	return g.admission.count()
}

// Accepts reports whether the gateway accepts connections: it listens, and has
// file descriptors for them.
func (g *Gateway) Accepts() bool { return g.Err() == nil && g.front.Load().listener.Accepts() }

// AcceptFailed is how often a connection could not be accepted, by the listener that
// there is now.
func (g *Gateway) AcceptFailed() int64 { return g.front.Load().listener.Failed() }

// Close stops accepting, closes every connection as Config.Shutdown says, after
// all that was broadcast to it, and returns when they are gone or, by force,
// when ctx ends. Closing again waits for the first to end.
func (g *Gateway) Close(ctx context.Context) { g.closing.Do(func() { g.close(ctx) }) }

func (g *Gateway) close(ctx context.Context) {
	f := g.front.Load()
	if !f.leaving.Load() { // or its socket is another's by now
		f.close()
	}
	var routes sync.WaitGroup
	for _, r := range g.Routes() {
		routes.Go(func() { r.Close(ctx) })
	}
	routes.Wait()
	_ = f.server.Close()
}
