package gateway

import (
	"context"
	"log/slog"
	"net/http"
	"time"
	"unique"

	"github.com/google/uuid"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/origin"
)

// Route is one path of a gateway, with all connections that are open on it.
type Route struct {
	RouteConfig
	*shared
	guard    guard
	hub      *fanout.Hub
	observer Observer
	log      *slog.Logger
	started  time.Time
	selects  bool // what is broadcast is taken apart
}

func newRoute(s *shared, rc RouteConfig, observer Observer, log *slog.Logger) *Route {
	log = log.With("path", rc.Path)
	return &Route{
		RouteConfig: rc,
		shared:      s,
		guard: guard{
			shared: s, path: rc.Path, origins: rc.AllowedOrigins, tokens: rc.Tokens, connect: rc.Handlers.Connect,
			events: rc.Events, watch: rc.Watch, keeps: rc.History.Bounds != fanout.History{}, pace: rc.MinInterval, places: places{most: rc.MaxConnections}, observer: observer, log: log,
		},
		observer: observer,
		log:      log,
		started:  time.Now(),
		selects:  rc.Watch != nil || rc.Latest.MaxKeys > 0 || rc.MinInterval > 0,
		hub: fanout.NewHub(fanout.Config{
			Limits:       rc.Limits,
			MaxFrame:     maxFrame,
			CloseTimeout: closeTimeout,
			Compression:  rc.Compression,
			History:      rc.History.Bounds,
			Latest:       rc.Latest,
			Wrap:         wrap,
			Heartbeat:    heartbeat,
			Events:       rc.Events,
			Gap:          gapMessage,
			Served:       observer.Served,
			Received:     observer.Received,
		}),
	}
}

// Broadcast sends a message to every connection of the route, keeps it for those
// that resume, and returns how many connections there are. It does not wait for
// sockets.
func (r *Route) Broadcast(m fanout.Message) int {
	if r.selects {
		m.Parts = parts(m.Payload)
	}
	return r.hub.Broadcast(m)
}

// Keeps reports whether the route has a history, so that a message is not lost
// while nobody is connected.
func (r *Route) Keeps() bool { return r.hub.Keeps() }

// WaitForConnection returns once a connection is open, or with ctx's error.
func (r *Route) WaitForConnection(ctx context.Context) error { return r.hub.WaitForConnection(ctx) }

// WaitForQueues returns when another size bytes make no connection a slow one, or
// when ctx ends.
func (r *Route) WaitForQueues(ctx context.Context, size int) { r.hub.WaitForQueues(ctx, size) }

// Bindings say what service accounts may do on the route.
func (r *Route) Bindings() access.Bindings { return r.cfg.Bindings }

// Connections is how many connections are open on the route.
func (r *Route) Connections() int { return r.hub.Len() }

// Stats is what the route has broadcast since the gateway started.
func (r *Route) Stats() fanout.Stats { return r.hub.Stats() }

func (r *Route) close(ctx context.Context) {
	code, cause := uint16(fanout.GoingAway), errShutdown
	if r.cfg.Shutdown.Restart {
		code, cause = serviceRestart, errRestart
	}
	if over := r.cfg.Shutdown.Drain; over > 0 {
		r.hub.Drain(ctx, over, code, cause)
	}
	r.hub.Close(ctx, code, cause)
}

// ServeHTTP opens a connection, or refuses it. It returns at once after the
// handshake, so that net/http's goroutine and buffers are free, and leaves the
// reading to another.
func (r *Route) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	visitor := r.guard.visitor(req)
	v, refused := visitor.decide()
	if refused == nil {
		if refused = r.open(w, v); refused == nil {
			return
		}
		r.admission.leave(&r.guard.places, v.ip)
	}
	r.observer.Handshake(refused.status, refused.reason)
	r.log.Debug("Handshake refused", "source_ip", visitor.info.SourceIP, "status", refused.status, "reason", refused.reason)
	if refused.text == "" { // the library has answered
		return
	}
	if origin.Allowed(req, r.guard.origins) {
		share(w.Header(), req)
	}
	switch refused.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750, section 3
	case http.StatusUpgradeRequired:
		w.Header().Set("Connection", "Upgrade") // RFC 9110, section 15.5.22
		w.Header().Set("Upgrade", "websocket")
	}
	http.Error(w, refused.text, refused.status)
}

// open upgrades the connection and starts it.
func (r *Route) open(w http.ResponseWriter, v *verdict) *refusal {
	r.awaitHistory(v.req.Context(), v.start.ResumeFrom)
	c := &Connection{
		id: v.id, home: r, ip: v.ip, within: v.within, pace: v.pace,
		agent: unique.Make(identity{v.info.UserAgent, v.info.Subprotocol}),
	}
	if r.Handlers.Message != nil || r.Handlers.Disconnect != nil {
		c.claims = v.info.Claims
	}
	client := fanout.Client{
		Start: v.start, Peer: (*peer)(c), WantsMessages: r.Handlers.Message != nil || r.Watch != nil,
		Attached: func(conn *fanout.Conn) {
			c.conn = conn
			r.connections.add(c)
		},
	}
	answer, status := upgrade, http.StatusSwitchingProtocols
	if v.events {
		answer, status = openEvents, http.StatusOK
	}
	if refused := answer(w, v, v.info.ID, door{r.hub, r.Compression, client}); refused != nil {
		return refused
	}
	if v.info.Claims != nil {
		if at, ok := r.Tokens.Verifier.Until(v.info.Claims); ok {
			c.conn.CloseAt(at, statusTokenExpired, errExpired)
		}
	}
	r.observer.Handshake(status, "")
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

// describe implements home.
func (r *Route) describe(info *Info, id uuid.UUID) {
	info.ID, info.Gateway, info.Path = idOf(r.cfg.NodeID, id), r.cfg.Label, r.Path
}

// handle implements home: it hands a client's message to the handler, and what
// comes back to the client.
func (r *Route) handle(c *Connection, m Message) {
	if r.watch(c, m) || r.Handlers.Message == nil {
		return
	}
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

// ended implements home.
func (r *Route) ended(c *Connection, end End) {
	r.connections.remove(c)
	r.admission.leave(&r.guard.places, c.ip)
	r.observer.Closed(end.Reason)
	info := c.Info()
	if r.cfg.AccessLog {
		level := slog.LevelInfo
		if end.Reason == reasonSlow {
			level = slog.LevelWarn
		}
		r.log.Log(context.Background(), level, "Connection closed", "connection_id", info.ID, "code", end.Code, "reason", end.Reason,
			"source_ip", info.SourceIP, "user_agent", info.UserAgent, "open_for", c.conn.OpenFor().Round(time.Millisecond).String(), "dropped", c.conn.Dropped())
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
