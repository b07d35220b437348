package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"time"
	"unique"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/fanout"
)

// Route is one path of a gateway, with all connections that are open on it.
type Route struct {
	RouteConfig
	gateway  *Gateway
	hub      *fanout.Hub
	observer Observer
	log      *slog.Logger
	started  time.Time
	places   int // taken by connections; guarded by admission.mu
}

func newRoute(g *Gateway, rc RouteConfig, observer Observer) *Route {
	return &Route{
		RouteConfig: rc,
		gateway:     g,
		observer:    observer,
		log:         g.log.With("path", rc.Path),
		started:     time.Now(),
		hub: fanout.NewHub(fanout.Config{
			QueueBytes:   rc.Limits.QueueBytes,
			SlowConsumer: rc.Limits.SlowConsumer,
			MaxFrame:     maxFrame,
			PingInterval: rc.Limits.PingInterval,
			IdleTimeout:  rc.Limits.IdleTimeout,
			MaxLifetime:  rc.Limits.MaxLifetime,
			CloseTimeout: closeTimeout,
			Compression:  rc.Compression,
			History:      rc.History.Bounds,
			Gap:          gapMessage,
			Served:       observer.Served,
		}),
	}
}

// Broadcast sends a message to every connection of the route, keeps it for those
// that resume, and returns how many connections there are. It does not wait for
// sockets.
func (r *Route) Broadcast(m fanout.Message) int { return r.hub.Broadcast(m) }

// Keeps reports whether the route has a history, so that a message is not lost
// while nobody is connected.
func (r *Route) Keeps() bool { return r.hub.Keeps() }

// WaitForConnection returns once a connection is open, or with ctx's error.
func (r *Route) WaitForConnection(ctx context.Context) error { return r.hub.WaitForConnection(ctx) }

// Bindings say what service accounts may do on the route.
func (r *Route) Bindings() access.Bindings { return r.gateway.Bindings() }

// Err is why no connection can be opened any more, nil while one can.
func (r *Route) Err() error { return r.gateway.Err() }

// Connections is how many connections are open on the route.
func (r *Route) Connections() int { return r.hub.Len() }

// Stats is what the route has broadcast since the gateway started.
func (r *Route) Stats() fanout.Stats { return r.hub.Stats() }

func (r *Route) close(ctx context.Context) {
	code, cause := websocket.StatusGoingAway, errShutdown
	if r.gateway.cfg.Shutdown.Restart {
		code, cause = websocket.StatusServiceRestart, errRestart
	}
	if over := r.gateway.cfg.Shutdown.Drain; over > 0 {
		r.hub.Drain(ctx, over, uint16(code), cause)
	}
	r.hub.Close(ctx, uint16(code), cause)
}

// ServeHTTP opens a connection, or refuses it. It returns at once after the
// handshake, so that net/http's goroutine and buffers are free, and leaves the
// reading to another.
func (r *Route) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	v := r.visitor(req)
	refused := r.gateway.admission.enter(r, v.ip)
	if refused == nil {
		if refused = r.admit(w, v); refused == nil {
			return
		}
		r.gateway.admission.leave(r, v.ip)
	}
	r.observer.Handshake(refused.status, refused.reason)
	r.log.Debug("Handshake refused", "source_ip", v.info.SourceIP, "status", refused.status, "reason", refused.reason)
	if refused.text == "" { // the library has answered
		return
	}
	if refused.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750, section 3
	}
	http.Error(w, refused.text, refused.status)
}

// admit authorises the visitor, upgrades the connection and starts it.
func (r *Route) admit(w http.ResponseWriter, v *visitor) *refusal {
	if isHandshake(v.req) { // or else the library refuses it
		if refused := v.authorise(); refused != nil {
			return refused
		}
		r.awaitHistory(v.req.Context(), v.resumeFrom)
	}
	c := &Connection{
		id: v.id, route: r, ip: v.ip,
		agent: unique.Make(identity{v.info.UserAgent, v.subprotocol}),
	}
	if r.Handlers.Message != nil || r.Handlers.Disconnect != nil {
		c.claims = v.info.Claims
	}
	refused := upgrade(w, v, c)
	if refused != nil {
		return refused
	}
	if v.info.Claims != nil {
		if at, ok := r.Tokens.Verifier.Until(v.info.Claims); ok {
			c.socket.CloseAt(at, statusTokenExpired, errExpired)
		}
	}
	r.observer.Handshake(http.StatusSwitchingProtocols, "")
	r.gateway.settle.handshakes.Add(1)
	if !c.socket.rest() {
		go c.run()
	}
	return nil
}

// awaitHistory waits for a message from which a client resumes and which the
// history may get yet: soon after the start, or if another node was ahead.
func (r *Route) awaitHistory(ctx context.Context, resumeFrom string) {
	left := max(r.History.WarmUp-time.Since(r.started), r.History.ResumeWait)
	if resumeFrom == "" || left <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	_ = r.hub.WaitForMessage(ctx, resumeFrom) // or else the client is told of a gap
}

// handle hands a client's message to the handler, and what comes back to the
// client.
func (r *Route) handle(c *Connection, m Message) {
	m.ID = uuid.Must(uuid.NewV7()).String()
	ctx, cancel := context.WithTimeout(context.Background(), r.Handlers.Timeout)
	defer cancel()
	replies, err := r.Handlers.Message(ctx, c, m)
	if err != nil {
		r.observer.HandlerFailed(onMessage)
		r.log.Error("on_message failed, its client gets no answer", "connection_id", c.ID(), "message_id", m.ID, "error", err)
	}
	for _, reply := range replies {
		if c.Send(reply.Text, reply.Data) != nil {
			return // the connection has ended
		}
	}
}

// ended is told of the end of a connection.
func (r *Route) ended(c *Connection, end End) {
	r.gateway.connections.remove(c)
	r.gateway.admission.leave(r, c.ip)
	r.observer.Closed(end.Reason)
	info := c.Info()
	if r.gateway.cfg.AccessLog {
		level := slog.LevelInfo
		if end.Reason == reasonSlow {
			level = slog.LevelWarn
		}
		r.log.Log(context.Background(), level, "Connection closed", "connection_id", info.ID, "code", end.Code, "reason", end.Reason,
			"source_ip", info.SourceIP, "user_agent", info.UserAgent, "open_for", c.openFor().String(), "dropped", c.socket.Dropped())
	}
	if r.Handlers.Disconnect == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.Handlers.Timeout)
	defer cancel()
	if err := r.Handlers.Disconnect(ctx, c, end); err != nil {
		r.observer.HandlerFailed(onDisconnect)
		r.log.Error("on_disconnect failed", "connection_id", info.ID, "error", err)
	}
}
