package gateway

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/coder/websocket"

	"iotcast/internal/fanout"
)

// Route is one path of a gateway, with all connections that are open on it.
type Route struct {
	gateway  string
	path     string
	limits   Limits
	origins  []string
	deflate  websocket.CompressionMode
	hub      *fanout.Hub
	observer Observer
	settle   *settle
	log      *slog.Logger
}

// Observer is told what happens on the routes, for metrics. Its methods are
// called concurrently.
type Observer interface {
	// Handshake reports the HTTP status that a request for a connection was
	// answered with: 101 when it was opened.
	Handshake(gateway, path string, status int)
	// Closed reports the end of a connection and a reason from a fixed set.
	Closed(gateway, path, reason string)
}

func newRoute(g *Gateway, rc RouteConfig, observer Observer) *Route {
	l := g.cfg.Limits
	deflate := websocket.CompressionDisabled
	if g.cfg.Compression {
		deflate = websocket.CompressionNoContextTakeover
	}
	return &Route{
		gateway:  g.cfg.Label,
		path:     rc.Path,
		limits:   l,
		origins:  g.cfg.AllowedOrigins,
		observer: observer,
		settle:   &g.settle,
		deflate:  deflate,
		log:      g.log.With("path", rc.Path),
		hub: fanout.NewHub(fanout.Config{
			QueueBytes:   l.QueueBytes,
			SlowConsumer: l.SlowConsumer,
			MaxFrame:     maxFrame,
			PingInterval: l.PingInterval,
			IdleTimeout:  l.IdleTimeout,
			MaxLifetime:  l.MaxLifetime,
			CloseTimeout: closeTimeout,
			Compression:  g.cfg.Compression,
		}),
	}
}

// Broadcast sends payload as one message, text or binary, to every connection
// of the route and returns how many they are. It does not wait for sockets.
func (r *Route) Broadcast(op fanout.Opcode, payload []byte) int { return r.hub.Broadcast(op, payload) }

// WaitForConnection returns once a connection is open, or with ctx's error.
func (r *Route) WaitForConnection(ctx context.Context) error { return r.hub.WaitForConnection(ctx) }

// Connections is how many connections are open on the route.
func (r *Route) Connections() int { return r.hub.Len() }

// Stats is what the route has broadcast since the gateway started.
func (r *Route) Stats() fanout.Stats { return r.hub.Stats() }

func (r *Route) close(ctx context.Context) {
	r.hub.Close(ctx, uint16(websocket.StatusGoingAway), errShutdown)
}

// ServeHTTP opens a connection. It returns at once after the handshake, so that
// net/http's goroutine and buffers are free, and leaves the reading to another.
func (r *Route) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	id := newConnectionID()
	w.Header().Set(headerConnectionID, id)
	up, peer := &upgrade{ResponseWriter: w, hub: r.hub}, new(peer)
	ws, err := websocket.Accept(up, req, &websocket.AcceptOptions{
		OriginPatterns:  r.origins,
		OnPingReceived:  peer.pinged,
		CompressionMode: r.deflate,
	})
	r.observer.Handshake(r.gateway, r.path, up.status)
	if err != nil {
		r.log.Debug("Handshake refused", "remote_address", req.RemoteAddr, "status", up.status, "error", err)
		return
	}
	peer.conn = up.socket.Conn // nothing is read before run
	ws.SetReadLimit(r.limits.MaxMessageBytes)
	r.settle.handshakes.Add(1)
	c := &connection{id: id, route: r, ws: ws, socket: up.socket}
	go c.run()
}
