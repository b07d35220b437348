// Package gateway accepts WebSocket connections (RFC 6455) on the routes of a
// listener, and broadcasts to them. The library coder/websocket answers the handshake.
// Package fanout sends and receives the frames, and does all that comes after it.
//
// front.go accepts a request. It passes gateway.go, which finds its route, route.go,
// authorise.go, which finds out whether it may connect (with admission.go, address.go
// and strangers.go), and watch.go, which reads what it wants to get. handshake.go then
// answers it, or events.go, if it is for server-sent events. It has become the
// Connection of connection.go, and end.go says how that ends.
//
// config.go is what can be configured. shared.go is what the routes of a gateway have
// in common, and terms.go what is in force on a route now. set.go finds gateways,
// routes and connections. change.go puts another configuration in force.
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
	unknown Observer // is told of requests that find no route
	table   atomic.Pointer[table]
	front   atomic.Pointer[front] // nil: it does not listen yet
	closing sync.Once
}

// table is what a gateway serves, by path. It does not change: another configuration
// puts another table in its place.
type table struct {
	routes map[string]*Route
	pages  map[string]http.Handler
}

// Start binds the address and begins to accept connections. The gateway must be closed.
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

// newGateway makes a gateway that has no routes, and does not listen yet.
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

// configure puts another configuration in force. It leaves the front as it is. It
// returns the routes that are gone, which must be closed, and the terms that others have
// replaced, which must be retired.
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

// viewed returns what the viewer's page must know of the routes, sorted by path.
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

// serve begins to accept connections by the configuration in force, with a new front. If
// there was one before, the caller must close it or let it leave.
func (g *Gateway) serve(l *listen.Listener) {
	cfg := g.cfg()
	g.failed.Store(nil)
	g.front.Store(newFront(cfg, l, g, func(err error) {
		g.failed.Store(&err)
		g.log.Error("Gateway stopped listening", "error", err)
	}, g.log))
	g.log.Info("Gateway listening", "address", g.Addr().String(), "tls", cfg.TLS != nil, "routes", strings.Join(g.Paths(), " "))
}

// ServeHTTP answers every request to the gateway. Only a path that is written as the
// route's finds it. One that a proxy could read in two ways, with // or %2e, finds
// nothing.
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

// Addr returns the address that the gateway listens on.
func (g *Gateway) Addr() net.Addr { return g.front.Load().listener.Addr() }

// Label returns the name by which outputs find the gateway.
func (g *Gateway) Label() string { return g.label }

// Bindings returns what service accounts may do on the gateway.
func (g *Gateway) Bindings() access.Bindings { return g.cfg().Bindings }

// Paths returns the paths of the routes, sorted.
func (g *Gateway) Paths() []string { return g.table.Load().paths() }

func (t *table) paths() []string { return slices.Sorted(maps.Keys(t.routes)) }

// Routes returns the routes of the gateway, by path. The map must not be written to.
func (g *Gateway) Routes() map[string]*Route { return g.table.Load().routes }

// Places returns how many connections the gateway has, with those whose handshake is
// under way, and how many it may have. most is 0 if there is no limit.
func (g *Gateway) Places() (taken, most int) {
	return g.admission.count()
}

// Accepts reports whether the gateway accepts connections: it listens, and has
// file descriptors for them.
func (g *Gateway) Accepts() bool { return g.Err() == nil && g.front.Load().listener.Accepts() }

// AcceptFailed returns how often the listener could not accept a connection. Another
// listener counts from 0.
func (g *Gateway) AcceptFailed() int64 { return g.front.Load().listener.Failed() }

// Close stops accepting, and closes every connection as Config.Shutdown says. Each gets
// what was broadcast before. Close returns when all connections are gone; when ctx ends,
// it cuts those that are left. A second call waits for the first to return.
func (g *Gateway) Close(ctx context.Context) { g.closing.Do(func() { g.close(ctx) }) }

func (g *Gateway) close(ctx context.Context) {
	f := g.front.Load()
	if !f.leaving.Load() { // else it is closed, or another front has its socket
		f.close()
	}
	var routes sync.WaitGroup
	for _, r := range g.Routes() {
		routes.Go(func() { r.Close(ctx) })
	}
	routes.Wait()
	_ = f.server.Close()
}
