// Package gateway accepts WebSocket connections (RFC 6455) on the routes of a
// listener, and broadcasts to them. The handshake is coder/websocket's; frames, and
// all that comes after it, are fanout's.
//
// A request passes gateway.go, route.go, authorise.go (with address.go and
// admission.go) and handshake.go, and becomes a Connection. Each file stands on
// those below it: shared.go is what the routes of a gateway have in common, and
// set.go finds what there is.
package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway/viewer"
	"github.com/iotcast/iotcast/internal/listen"
)

// Gateway is a listener with its routes. It lives as long as the process;
// streams come and go beneath it.
type Gateway struct {
	*shared
	log     *slog.Logger
	routes  map[string]*Route
	pages   map[string]http.Handler
	unknown Observer // of requests that find no route

	listener *listen.Listener
	server   *http.Server
	served   sync.WaitGroup
	closing  sync.Once
	ending   atomic.Bool // it is to stop listening
}

// Start binds the address and begins to accept connections.
func Start(cfg Config, observe Observe, log *slog.Logger) (*Gateway, error) {
	log = log.With("gateway", cfg.Label)
	l, err := listen.TCP(cfg.Address, listenConfig(cfg.Routes), log)
	if err != nil {
		return nil, fmt.Errorf("binding websocket_gateways %q %w", cfg.Label, err)
	}
	g := &Gateway{
		shared:   &shared{cfg: cfg, admission: newAdmission(cfg.Admission)},
		log:      log,
		routes:   make(map[string]*Route),
		unknown:  observe(cfg.Label, ""),
		listener: l,
	}
	for _, rc := range cfg.Routes {
		g.routes[rc.Path] = newRoute(g.shared, rc, observe(cfg.Label, rc.Path), log)
	}
	if cfg.Viewer != "" {
		g.pages = viewer.Pages(cfg.Viewer, "iotcast · "+cfg.Label, g.Paths(), cfg.Broker)
	}
	g.server = &http.Server{
		Handler:           g,
		ReadHeaderTimeout: cfg.Admission.HandshakeTimeout,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    cfg.Admission.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		Protocols:         http1(),
	}
	if d := cfg.Admission.HandshakeTimeout; d > 0 {
		// Against who sends a body and takes its time, or does not read the page. A
		// handshake has no body, and a connection limits of its own.
		g.server.ReadTimeout, g.server.WriteTimeout = 2*d, 2*d
	}
	var accepted net.Listener = l
	if cfg.TLS != nil {
		accepted = tls.NewListener(fanout.ForTLS(l), cfg.TLS)
	}
	g.served.Go(func() {
		if err := g.server.Serve(accepted); !g.ending.Load() {
			g.failed.Store(&err)
			g.log.Error("Gateway stopped listening", "error", err)
		}
	})
	g.log.Info("Gateway listening", "address", g.Addr().String(), "tls", cfg.TLS != nil, "routes", strings.Join(g.Paths(), " "))
	return g, nil
}

// listenConfig leaves the kernel's keep-alive out where our pings find dead peers:
// it would cost each handshake four system calls.
func listenConfig(routes []RouteConfig) *net.ListenConfig {
	for _, r := range routes {
		if r.Limits.PingInterval == 0 {
			return new(net.ListenConfig)
		}
	}
	return &net.ListenConfig{KeepAlive: -1}
}

// http1 keeps browsers from choosing HTTP/2 over TLS, where a WebSocket handshake
// is another one (RFC 8441).
func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

// ServeHTTP answers every request to the gateway. Paths match as they are
// written: what a proxy could read in two ways, such as // or %2e, finds nothing.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := req.URL.Path
	if req.URL.RawPath != "" {
		path = ""
	}
	if r, ok := g.routes[path]; ok {
		r.ServeHTTP(w, req)
		return
	}
	if page, ok := g.pages[path]; ok {
		page.ServeHTTP(w, req)
		return
	}
	g.unknown.Handshake(http.StatusNotFound, "path")
	http.NotFound(w, req)
}

// Addr is the address that the gateway listens on.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

// Label is the name by which outputs find the gateway.
func (g *Gateway) Label() string { return g.cfg.Label }

// Bindings say what service accounts may do on the gateway.
func (g *Gateway) Bindings() access.Bindings { return g.cfg.Bindings }

// Paths are the paths of the routes, sorted.
func (g *Gateway) Paths() []string {
	paths := make([]string, 0, len(g.routes))
	for p := range g.routes {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

// Routes are the routes of the gateway.
func (g *Gateway) Routes() map[string]*Route { return g.routes }

// Accepts reports whether the gateway accepts connections: it listens, and has
// file descriptors for them.
func (g *Gateway) Accepts() bool { return g.Err() == nil && g.listener.Accepts() }

// AcceptFailed is how often a connection could not be accepted.
func (g *Gateway) AcceptFailed() int64 { return g.listener.Failed() }

// Close stops accepting, closes every connection as Config.Shutdown says, after
// all that was broadcast to it, and returns when they are gone or, by force,
// when ctx ends. Closing again waits for the first to end.
func (g *Gateway) Close(ctx context.Context) { g.closing.Do(func() { g.close(ctx) }) }

func (g *Gateway) close(ctx context.Context) {
	g.ending.Store(true)
	_ = g.listener.Close()
	var routes sync.WaitGroup
	for _, r := range g.routes {
		routes.Go(func() { r.close(ctx) })
	}
	routes.Wait()
	_ = g.server.Close()
	g.served.Wait()
}
