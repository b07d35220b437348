package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/origin"
	"github.com/iotcast/iotcast/internal/token"
)

// guard decides who may connect to a route. It is part of the route's terms.
type guard struct {
	*shared
	path      string
	origins   []string // allowed, beside the gateway's own
	tokens    *Tokens
	connect   func(context.Context, *Request) (Answer, error) // nil: there is no handler
	events    bool                                            // server-sent events are served
	pace      time.Duration                                   // the shortest interval that a visitor may have
	watch     *Watch                                          // nil: clients cannot choose
	keeps     bool                                            // there is a history
	places    *places
	strangers *strangers
	observer  Observer
	log       *slog.Logger
}

// visitor is a request for the path of a route. It may be a handshake, or something else:
// that is found out only after it has been decided that it may connect.
type visitor struct {
	guard     *guard
	req       *http.Request
	id        uuid.UUID // of the connection that it may become
	ip        netip.Addr
	info      Info
	events    bool // it wants events, and not a WebSocket
	start     fanout.Start
	within    *fanout.Choice // what it may get; nil: everything
	until     time.Time      // when the connection must end; zero: never
	pace      time.Duration  // at most one message of a device in this time; 0: all
	tokenFrom string         // the subprotocol that carried the token
}

// verdict says that a visitor may connect. Only decide makes one, and nothing opens a
// connection without one.
type verdict struct{ *visitor }

func (g *guard) visitor(req *http.Request) *visitor {
	v := &visitor{
		guard: g, req: req,
		id: uuid.Must(uuid.NewV7()), // unique, and in the order of connecting
		ip: sourceIP(req, g.cfg().TrustedProxies),
	}
	v.info = Info{
		ID: idOf(g.node, v.id), Gateway: g.label, Path: g.path,
		SourceIP: v.ip.String(), UserAgent: req.UserAgent(), ConnectedAt: time.Now().UTC(),
	}
	v.info.LastActiveAt = v.info.ConnectedAt
	if req.TLS != nil && len(req.TLS.PeerCertificates) > 0 {
		v.info.CertificateSubject = req.TLS.PeerCertificates[0].Subject.String()
	}
	return v
}

// decide asks all that have a say, the cheapest first. It does so whatever the request
// is for: only the library knows how a handshake may be written, and it is asked last.
// With a verdict comes a place on the route, which must be given back by admission.leave.
func (v *visitor) decide() (may *verdict, refused *refusal) {
	g := v.guard
	if refused := g.admission.enter(g.places, v.ip); refused != nil {
		return nil, refused
	}
	defer func() {
		if may == nil { // a handler may panic, too
			g.admission.leave(g.places, v.ip)
		}
	}()
	refused = v.authorise()
	if refused == nil {
		refused = v.choose()
	}
	if refused == nil && v.req.ProtoMajor != 1 { // RFC 8441: connections share a socket
		refused = &refusal{http.StatusHTTPVersionNotSupported, "handshake", "this path speaks HTTP/1.1 only: connect by WebSocket, or have the server offer no HTTP/2"}
	}
	if refused == nil && !v.events && wantsEvents(v.req) {
		refused = &refusal{http.StatusUpgradeRequired, "handshake", "this path serves no server-sent events: connect by WebSocket, or have them switched on (sse: true of its route in YAML, SSE in Go)"}
	}
	if refused == nil && !v.events && isPlain(v.req) {
		refused = &refusal{http.StatusUpgradeRequired, "handshake", v.guard.forVisitors()}
	}
	if refused != nil {
		return nil, refused
	}
	return &verdict{v}, nil
}

// isPlain reports whether a request has nothing of a handshake, so that whoever sends it means something else: a browser in whose
// address bar the URL is, or curl. A proxy that leaves out Upgrade leaves the key: of that the library tells.
func isPlain(req *http.Request) bool {
	return req.Method == http.MethodGet && req.Header.Get("Upgrade") == "" && req.Header.Get("Sec-Websocket-Key") == ""
}

// forVisitors tells someone who sends a plain request what the path is for.
func (g *guard) forVisitors() string {
	text := "this path is for WebSocket clients, as a page is with iotcast.js: it has nothing to show by itself"
	if g.events {
		text = "this path is for clients of WebSocket, and of server-sent events (Accept: text/event-stream): it has nothing to show by itself"
	}
	if at := g.cfg().Viewer; at != "" {
		text += ". The viewer of this gateway shows what comes here, at " + at
	}
	return text
}

// authorise asks which page the visitor is of, who it is, and what the handler says.
func (v *visitor) authorise() *refusal {
	if !origin.Allowed(v.req, v.guard.origins) {
		if from := v.req.Header.Get("Origin"); v.guard.strangers.isNew(from) {
			v.guard.log.Warn("A page was refused for its origin: add that to the origins that are allowed if its pages may connect (allowed_origins in YAML, AllowedOrigins in Go)", "origin", fmt.Sprintf("%.200s", from), "host", fmt.Sprintf("%.200s", v.req.Host), "source_ip", v.info.SourceIP)
		}
		return &refusal{http.StatusForbidden, "origin", "pages of this origin may not connect"}
	}
	if v.guard.tokens != nil || v.guard.connect != nil {
		if refused := v.askOthers(); refused != nil {
			return refused
		}
	}
	if v.info.Subprotocol == "" && v.tokenFrom != "" {
		// A browser that offers subprotocols wants one selected.
		v.info.Subprotocol = v.tokenFrom
		for _, offered := range offers(v.req) {
			if offered != v.tokenFrom {
				v.info.Subprotocol = offered
				break
			}
		}
	}
	return nil
}

// askOthers asks what may take a while: it verifies the token, and calls the handler.
func (v *visitor) askOthers() *refusal {
	ctx, cancel := context.WithTimeout(v.req.Context(), v.guard.cfg().Admission.HandshakeTimeout)
	defer cancel()
	if refused := v.authenticate(ctx); refused != nil {
		return refused
	}
	if v.guard.connect != nil {
		return v.ask(ctx)
	}
	return nil
}

// authenticate verifies the visitor's token, if the route asks for one.
func (v *visitor) authenticate(ctx context.Context) *refusal {
	t := v.guard.tokens
	if t == nil {
		return nil
	}
	raw := v.token(t)
	if raw == "" && t.Optional {
		return nil
	}
	claims, err := t.Verifier.Verify(ctx, raw)
	if err != nil {
		v.guard.log.Debug("Token refused", "source_ip", v.info.SourceIP, "error", err)
		reason := token.Reason(err)
		if reason == "keys_unavailable" { // not the client's fault
			return &refusal{http.StatusServiceUnavailable, "token_" + reason, "tokens cannot be verified now, try again later"}
		}
		return &refusal{http.StatusUnauthorized, "token_" + reason, "a valid token is needed"}
	}
	if t.RoutesClaim != "" && !slices.Contains(claims.Strings(t.RoutesClaim), v.guard.path) {
		return &refusal{http.StatusForbidden, "token_route", "the token does not open this path"}
	}
	v.info.Claims = claims
	if end, ok := t.Verifier.Until(claims); ok {
		v.until = end
	}
	return nil
}

// token finds the token where a client can put one: in the Authorization header, in a
// subprotocol, or in the query (RFC 6750, section 2.3). Browsers cannot set the header.
func (v *visitor) token(t *Tokens) string {
	if raw, ok := token.Bearer(v.req.Header); ok {
		return raw
	}
	if t.SubprotocolPrefix != "" {
		for _, offered := range offers(v.req) {
			if raw, ok := strings.CutPrefix(offered, t.SubprotocolPrefix); ok {
				v.tokenFrom = offered
				return raw
			}
		}
	}
	if t.QueryParameter != "" {
		return v.req.URL.Query().Get(t.QueryParameter)
	}
	return ""
}

// offers returns the subprotocols that the client offers (RFC 6455, section 11.3.4).
func offers(req *http.Request) []string {
	var all []string
	for _, line := range req.Header.Values("Sec-Websocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			all = append(all, strings.TrimSpace(p))
		}
	}
	return all
}

// ask leaves the decision to the Connect handler.
func (v *visitor) ask(ctx context.Context) *refusal {
	answer, err := v.guard.connect(ctx, &Request{
		Info: v.info, HTTP: v.req.WithContext(ctx), Header: v.req.Header, Query: v.req.URL.Query(), Subprotocols: offers(v.req),
	})
	switch {
	case err != nil:
		v.guard.observer.HandlerFailed(onConnect)
		v.guard.log.Error("on_connect failed (Authorize in Go), the connection is refused", "source_ip", v.info.SourceIP, "error", err)
		return &refusal{http.StatusInternalServerError, "on_connect_failed", "the gateway could not decide"}
	case answer.Status != 0:
		return &refusal{answer.Status, "on_connect", http.StatusText(answer.Status)}
	case answer.Subprotocol != "" && !slices.Contains(offers(v.req), answer.Subprotocol):
		v.guard.log.Warn("on_connect (Authorize in Go) selected a subprotocol that the client does not offer", "source_ip", v.info.SourceIP, "subprotocol", fmt.Sprintf("%.64q", answer.Subprotocol))
		answer.Subprotocol = ""
	}
	v.info.Subprotocol = answer.Subprotocol
	v.within = answer.Within
	if !answer.Until.IsZero() && (v.until.IsZero() || answer.Until.Before(v.until)) {
		v.until = answer.Until
	}
	return nil
}
