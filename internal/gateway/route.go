package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
	"unique"

	"github.com/google/uuid"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/origin"
)

// Route is one path of a gateway, with all connections that are open on it. They stay
// when its terms change.
type Route struct {
	*shared
	path      string
	now       atomic.Pointer[terms] // in force; another replaces them as a whole
	places    places
	strangers strangers
	hub       *fanout.Hub
	observer  Observer
	log       *slog.Logger
	started   time.Time
	removed   atomic.Bool // it is not there any more
}

// NewRoute returns a route without a listener: the caller has an HTTP server of its own,
// which calls ServeHTTP. Of cfg it does not use what is for listeners, nor the viewer and
// the routes. The route must be closed.
func NewRoute(cfg Config, rc RouteConfig, observer Observer, log *slog.Logger) *Route {
	s := &shared{label: cfg.Label, node: cfg.NodeID, admission: newAdmission()}
	s.config.Store(&cfg)
	s.admission.bound(cfg.Admission)
	return newRoute(s, rc, observer, log)
}

func newRoute(s *shared, rc RouteConfig, observer Observer, log *slog.Logger) *Route {
	r := &Route{shared: s, path: rc.Path, places: places{most: rc.MaxConnections}, observer: observer, log: log, started: time.Now()}
	r.hub = fanout.NewHub(r.hubConfig(&rc))
	r.now.Store(r.newTerms(rc))
	return r
}

// Broadcast sends a message to every connection of the route, and keeps it for those
// that resume. It returns how many connections there are, and does not wait for their
// sockets. The error says that the route is not there any more.
func (r *Route) Broadcast(m fanout.Message) (int, error) {
	n := r.hub.Broadcast(m)
	if n == fanout.Closed {
		return 0, r.gone()
	}
	return n, nil
}

// Err returns why no connection can be opened any more. It is nil while one can.
func (r *Route) Err() error {
	if r.removed.Load() {
		return r.gone()
	}
	return r.shared.Err()
}

// Removed reports whether the route is not there any more. Another may have its path by
// now.
func (r *Route) Removed() bool { return r.removed.Load() }

func (r *Route) gone() error {
	return fmt.Errorf("path %s of gateway %q is not there any more (see websocket_gateways in the root config)", r.path, r.label)
}

// Keeps reports whether the route has a history, so that a message is not lost
// while nobody is connected.
func (r *Route) Keeps() bool { return r.hub.Keeps() }

// MessageBytes returns the size, in bytes, of the largest message that may wait for a
// connection.
func (r *Route) MessageBytes() int64 { return r.now.Load().Limits.QueueBytes }

// WaitForConnection returns nil when a connection is open, or the route is removed. It
// returns ctx's error if that ends before.
func (r *Route) WaitForConnection(ctx context.Context) error { return r.hub.WaitForConnection(ctx) }

// WaitForQueues waits until size bytes more make no connection a slow one, or until ctx
// ends.
func (r *Route) WaitForQueues(ctx context.Context, size int) { r.hub.WaitForQueues(ctx, size) }

// Bindings returns what service accounts may do on the route.
func (r *Route) Bindings() access.Bindings { return r.cfg().Bindings }

// Places returns how many connections the route has, with those whose handshake is under
// way, and how many it may have. most is 0 if there is no limit.
func (r *Route) Places() (taken, most int) {
	return r.admission.countOf(&r.places)
}

// Connections returns how many connections are open on the route.
func (r *Route) Connections() int { return r.hub.Len() }

// Stats returns what the route has broadcast since it was made.
func (r *Route) Stats() fanout.Stats { return r.hub.Stats() }

// remove closes the connections of a route that is not configured any more. It must be
// out of the gateway's table, and marked as removed.
func (r *Route) remove(ctx context.Context) {
	r.hub.Close(ctx, fanout.GoingAway, errRemoved)
}

// Close closes every connection as Config.Shutdown says. Each gets what was broadcast
// before. Close returns when all connections are gone; when ctx ends, it cuts those that
// are left. One that is opened later is closed at once.
func (r *Route) Close(ctx context.Context) {
	code, cause := uint16(fanout.GoingAway), errShutdown
	end := r.cfg().Shutdown
	if end.Restart {
		code, cause = serviceRestart, errRestart
	}
	if end.Drain > 0 {
		r.hub.Drain(ctx, end.Drain, code, cause)
	}
	r.removed.Store(true)
	r.hub.Close(ctx, code, cause)
}

// ServeHTTP opens a connection, or refuses it. It returns right after the handshake, so
// that net/http gives up its goroutine and buffers. The hub reads what the client sends.
func (r *Route) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	t := r.terms()
	defer t.leave()
	visitor := t.guard.visitor(req)
	v, refused := visitor.decide()
	if refused == nil {
		if refused = r.open(w, v, t); refused == nil {
			return
		}
		r.admission.leave(&r.places, v.ip)
	}
	r.observer.Handshake(refused.status, refused.reason)
	r.log.Debug("Handshake refused", "source_ip", visitor.info.SourceIP, "status", refused.status, "reason", refused.reason)
	if refused.text == "" { // the library has answered
		return
	}
	if origin.Allowed(req, t.AllowedOrigins) {
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

// open answers the handshake, and hands the socket to the hub.
func (r *Route) open(w http.ResponseWriter, v *verdict, t *terms) *refusal {
	r.awaitHistory(v.req.Context(), v.start.ResumeFrom, &t.History)
	c := &Connection{
		id: v.id, home: r, ip: v.ip, pace: v.pace,
		agent: unique.Make(identity{v.info.UserAgent, v.info.Subprotocol}),
	}
	if claims := v.info.Claims; claims != nil || v.within != nil {
		c.token = &credential{subject: claims.Subject(), within: v.within}
		if t.Handlers.Message != nil || t.Handlers.Disconnect != nil { // nobody else asks for them
			c.token.claims = claims
		}
	}
	client := fanout.Client{
		Start: v.start, Peer: (*peer)(c),
		Attached: func(conn *fanout.Conn) {
			c.conn = conn
			r.connections.add(c)
		},
	}
	answer, status := upgrade, http.StatusSwitchingProtocols
	if v.events {
		answer, status = openEvents, http.StatusOK
	}
	if refused := answer(w, v, v.info.ID, door{r.hub, t.Compression, client}); refused != nil {
		return refused
	}
	if !v.until.IsZero() {
		c.conn.CloseAt(v.until, statusTokenExpired, errExpired)
	}
	r.observer.Handshake(status, "")
	return nil
}

// awaitHistory waits for the message from which a client resumes, if the history may yet
// get it: soon after the start, or if another node was ahead.
func (r *Route) awaitHistory(ctx context.Context, resumeFrom string, h *History) {
	left := max(h.WarmUp-time.Since(r.started), h.ResumeWait)
	if resumeFrom == "" || left <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	_ = r.hub.WaitForMessage(ctx, resumeFrom) // if it does not come, the client is told of a gap
}

// describe implements home.
func (r *Route) describe(info *Info, id uuid.UUID) {
	info.ID, info.Gateway, info.Path = idOf(r.node, id), r.label, r.path
}

// handle implements home. It hands a client's message to the handler, and what the
// handler returns to the client.
func (r *Route) handle(c *Connection, m Message) {
	t := r.terms()
	defer t.leave()
	if r.watch(t, c, m) || t.Handlers.Message == nil {
		return
	}
	m.ID = uuid.Must(uuid.NewV7()).String()
	ctx, cancel := context.WithTimeout(context.Background(), t.Handlers.Timeout)
	defer cancel()
	replies, err := t.Handlers.Message(ctx, c, m)
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
	r.admission.leave(&r.places, c.ip)
	r.observer.Closed(end.Reason)
	info := c.Info()
	if r.cfg().AccessLog {
		level := slog.LevelInfo
		if end.Reason == reasonSlow {
			level = slog.LevelWarn
		}
		r.log.Log(context.Background(), level, "Connection closed", "connection_id", info.ID, "code", end.Code, "reason", end.Reason,
			"source_ip", info.SourceIP, "user_agent", info.UserAgent, "open_for", c.conn.OpenFor().Round(time.Millisecond).String(), "dropped", c.conn.Dropped())
	}
	t := r.terms()
	defer t.leave()
	if t.Handlers.Disconnect == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.Handlers.Timeout)
	defer cancel()
	if err := t.Handlers.Disconnect(ctx, c, end); err != nil {
		r.observer.HandlerFailed(onDisconnect)
		r.log.Error("on_disconnect failed", "connection_id", info.ID, "error", err)
	}
}
