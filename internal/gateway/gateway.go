// Package gateway accepts WebSocket connections (RFC 6455) on the routes of a
// listener, and broadcasts to them. The handshake, the reading of frames and
// the closing handshake are coder/websocket's; the writing is fanout's.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"iotcast/internal/gateway/viewer"
)

// Gateway is a listener with its routes. It lives as long as the process;
// streams come and go beneath it.
type Gateway struct {
	cfg    Config
	log    *slog.Logger
	routes map[string]*Route

	listener net.Listener
	server   *http.Server
	served   sync.WaitGroup
	closing  sync.Once
	quit     chan struct{}
	settle   settle
}

// Start binds the address and begins to accept connections.
func Start(cfg Config, observer Observer, log *slog.Logger) (*Gateway, error) {
	l, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		hint := ""
		if errors.Is(err, syscall.EADDRINUSE) {
			hint = ": another program listens there, choose another address or end it"
		}
		return nil, fmt.Errorf("binding websocket_gateways %q to address %s: %w%s", cfg.Label, cfg.Address, err, hint)
	}
	g := &Gateway{cfg: cfg, log: log.With("gateway", cfg.Label), routes: make(map[string]*Route), listener: l, quit: make(chan struct{})}
	mux := http.NewServeMux()
	for _, rc := range cfg.Routes {
		r := newRoute(g, rc, observer)
		g.routes[rc.Path] = r
		// {$} keeps a path that ends in / from covering all beneath it.
		mux.Handle(strings.TrimSuffix(rc.Path, "/")+suffix(rc.Path), r)
	}
	if cfg.Viewer != "" {
		mux.Handle(strings.TrimSuffix(cfg.Viewer, "/")+suffix(cfg.Viewer), viewer.Handler("iotcast · "+cfg.Label, g.Paths()))
	}
	g.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
	}
	g.served.Go(func() {
		if err := g.server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			g.log.Error("Gateway stopped listening", "error", err)
		}
	})
	g.served.Go(func() { g.settle.run(g.quit) })
	g.log.Info("Gateway listening", "address", g.Addr().String(), "routes", strings.Join(g.Paths(), " "))
	return g, nil
}

func suffix(path string) string {
	if strings.HasSuffix(path, "/") {
		return "/{$}"
	}
	return ""
}

// Addr is the address that the gateway listens on.
func (g *Gateway) Addr() net.Addr { return g.listener.Addr() }

// Label is the name by which outputs find the gateway.
func (g *Gateway) Label() string { return g.cfg.Label }

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

// Close stops accepting, closes every connection with 1001 (going away) after
// all that was broadcast to it, and returns when they are gone or, by force,
// when ctx ends. Closing again waits for the first to end.
func (g *Gateway) Close(ctx context.Context) { g.closing.Do(func() { g.close(ctx) }) }

func (g *Gateway) close(ctx context.Context) {
	_ = g.listener.Close()
	var routes sync.WaitGroup
	for _, r := range g.routes {
		routes.Go(func() { r.close(ctx) })
	}
	routes.Wait()
	_ = g.server.Close()
	close(g.quit)
	g.served.Wait()
}
