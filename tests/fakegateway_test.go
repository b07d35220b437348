package tests

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// fakeGateway speaks the gateway's protocol for clients that resume, and can
// misbehave. Its root is an empty page, and it serves the client's module, and
// tokens.
type fakeGateway struct {
	t    *testing.T
	addr string

	mu       sync.Mutex
	history  []string // envelopes; the last event ID of number n is id(n)
	oldest   int      // number of the first that can still be had
	conns    map[*websocket.Conn]bool
	requests []url.Values // of the handshakes, accepted or not
	offers   [][]string   // Sec-WebSocket-Protocol of each
	bearers  []string     // Authorization of each
	said     []string     // by clients
	closes   []websocket.StatusCode
	refusals int             // handshakes to refuse yet
	denied   int             // the status by which all are refused; 0: they are not
	sentAway []url.Values    // of the handshakes that were refused so
	chosen   []string        // the choices of clients, as they sent them
	tokens   []func() string // to give out, the last one for ever
}

func startFakeGateway(t *testing.T) *fakeGateway {
	t.Helper()
	g := &fakeGateway{t: t, conns: make(map[*websocket.Conn]bool)}
	mux := http.NewServeMux()
	mux.HandleFunc("/telemetry", g.connect)
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<!doctype html><title>page</title><link rel=icon href=data:,>")
	})
	for _, module := range []string{"iotcast.js", "events.js", "shared.js"} {
		mux.HandleFunc("/"+module, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, clientPackage+"/"+module)
		})
	}
	mux.HandleFunc("/token", g.token)
	mux.HandleFunc("/refused/{status}", func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.PathValue("status"))
		http.Error(w, "for good", status)
	})
	s := httptest.NewServer(mux)
	g.addr = s.Listener.Addr().String()
	t.Cleanup(func() {
		g.closeAll(websocket.StatusGoingAway, "the test is over")
		s.Close()
	})
	return g
}

func (g *fakeGateway) connect(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	denied := g.denied
	if denied > 0 {
		g.sentAway = append(g.sentAway, r.URL.Query())
	}
	g.mu.Unlock()
	if denied > 0 {
		http.Error(w, "never", denied)
		return
	}
	if r.Header.Get("Upgrade") == "" { // a client that asks why it was refused
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	g.mu.Lock()
	g.requests = append(g.requests, r.URL.Query())
	offers := strings.FieldsFunc(r.Header.Get("Sec-WebSocket-Protocol"), func(c rune) bool { return c == ',' || c == ' ' })
	g.offers = append(g.offers, offers)
	g.bearers = append(g.bearers, r.Header.Get("Authorization"))
	refuse := g.refusals > 0
	if refuse {
		g.refusals--
	}
	g.mu.Unlock()
	if refuse {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: offers})
	if err != nil {
		g.t.Errorf("accepting: %v", err)
		return
	}
	g.mu.Lock()
	from := len(g.history)
	if last := r.URL.Query().Get("last_event_id"); last != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(last, "id-"))
		if from = n + 1; err != nil || from < g.oldest || from > len(g.history) {
			from = g.oldest
			g.write(c, `{"messages":[],"gap":{"reason":"history"}}`)
		}
	}
	for _, envelope := range g.history[from:] {
		g.write(c, envelope)
	}
	g.conns[c] = true
	g.mu.Unlock()

	for {
		var message []byte
		if _, message, err = c.Read(context.Background()); err != nil {
			break
		}
		g.mu.Lock()
		g.said = append(g.said, string(message))
		g.mu.Unlock()
		g.choose(c, string(message))
	}
	g.mu.Lock()
	delete(g.conns, c)
	g.closes = append(g.closes, websocket.CloseStatus(err))
	g.mu.Unlock()
	_ = c.CloseNow()
}

// choose answers a choice: what names a topic is refused.
func (g *fakeGateway) choose(c *websocket.Conn, message string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.chosen = append(g.chosen, message)
	if strings.Contains(message, "topics") {
		g.write(c, `{"messages":[],"error":{"code":"watch","message":"no topics here"}}`)
		return
	}
	g.write(c, `{"messages":[],`+message[1:])
}

// deny refuses all handshakes from now on.
func (g *fakeGateway) deny(status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.denied = status
}

// waitDenied waits until a handshake was refused that had the parameter.
func (g *fakeGateway) waitDenied(parameter string) {
	g.t.Helper()
	eventually(g.t, "a handshake with "+parameter+" was refused", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return slices.ContainsFunc(g.sentAway, func(q url.Values) bool { return q.Has(parameter) })
	})
}

// choices are what the clients have sent so far.
func (g *fakeGateway) choices() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.chosen)
}

func (g *fakeGateway) token(w http.ResponseWriter, _ *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fmt.Fprint(w, g.tokens[0]())
	if len(g.tokens) > 1 {
		g.tokens = g.tokens[1:]
	}
}

// giveTokens says which tokens clients get, one after the other.
func (g *fakeGateway) giveTokens(tokens ...func() string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tokens = tokens
	return `, "tokenURL": "http://` + g.addr + `/token"`
}

func (g *fakeGateway) write(c *websocket.Conn, text string) {
	_ = c.Write(context.Background(), websocket.MessageText, []byte(text))
}

// numbered is message number n, as it stands in an envelope. Its payload is n.
func numbered(n int) string {
	return fmt.Sprintf(`{"event_metadata":{"event_id":"id-%d","event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"2019-09-25T15:51:17.872320525Z"},`+
		`"details":{"broker_id":"b","mqtt_topic":"t","payload":%q}}`, n, base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(n))))
}

// publish sends the next n messages to all, each in an envelope of its own.
func (g *fakeGateway) publish(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range n {
		envelope := `{"messages":[` + numbered(len(g.history)) + `]}`
		g.history = append(g.history, envelope)
		g.writeAll(envelope)
	}
}

func (g *fakeGateway) writeAll(text string) {
	for c := range g.conns {
		g.write(c, text)
	}
}

// send sends to all what is not of the history.
func (g *fakeGateway) send(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writeAll(text)
}

// forget forgets all messages, as a server that was started anew.
func (g *fakeGateway) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.oldest = len(g.history)
}

func (g *fakeGateway) refuse(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refusals = n
}

// closeAll closes the connections.
func (g *fakeGateway) closeAll(code websocket.StatusCode, reason string) {
	g.mu.Lock()
	conns := make([]*websocket.Conn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	g.mu.Unlock()
	for _, c := range conns {
		_ = c.Close(code, reason)
	}
}

// handshakes are the queries of all requests for a connection so far, and the
// subprotocols that each has offered.
func (g *fakeGateway) handshakes() (queries []url.Values, offers [][]string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.requests), slices.Clone(g.offers)
}

// authorizations are the headers of all requests for a connection so far.
func (g *fakeGateway) authorizations() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.bearers)
}

// texts are what clients have said.
func (g *fakeGateway) texts() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.said)
}

// waitConnection waits until one connection is open.
func (g *fakeGateway) waitConnection() {
	g.t.Helper()
	eventuallyWithin(g.t, time.Minute, "one connection is open", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.conns) == 1
	})
}

// waitClosed waits until a client has closed its connection with this code.
func (g *fakeGateway) waitClosed(code websocket.StatusCode) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("a connection was closed with %d", code), func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, c := range g.closes {
			if c == code {
				return true
			}
		}
		return false
	})
}
