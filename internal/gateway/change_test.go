package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/reserve"
)

// changing is a set whose gateways a test changes.
type changing struct {
	*testing.T
	*Set
	events record
}

func newChanging(t *testing.T) *changing {
	s := &changing{T: t, Set: NewSet()}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	return s
}

func (s *changing) prepare(configs ...Config) (*Change, error) {
	return s.Prepare(configs, s.events.observe, slog.New(slog.DiscardHandler))
}

// apply changes the set. The channel is closed when nothing of what was before is in use.
func (s *changing) apply(configs ...Config) <-chan struct{} {
	s.Helper()
	c, err := s.prepare(configs...)
	if err != nil {
		s.Fatal(err)
	}
	after := make(chan struct{})
	c.Apply(func() { close(after) })
	return after
}

func (s *changing) dial(label, path string) *websocket.Conn {
	s.Helper()
	g, ok := s.Gateway(label)
	if !ok {
		s.Fatalf("there is no gateway %s", label)
	}
	return dial(s.T, g, path)
}

func (s *changing) send(label, path, text string) error {
	r, err := s.Route(label, path)
	if err != nil {
		return err
	}
	_, err = r.Broadcast(fanout.Message{Opcode: fanout.Text, Payload: []byte(text)})
	return err
}

func gatewayOf(label, address string, paths ...string) Config {
	cfg := Config{Label: label, Address: address, Viewer: "/", Admission: Admission{HandshakeTimeout: 10 * time.Second}}
	for _, path := range paths {
		cfg.Routes = append(cfg.Routes, RouteConfig{Path: path, Limits: fanout.Limits{QueueBytes: 1 << 20, MaxMessageBytes: 1 << 10}})
	}
	return cfg
}

func free(t *testing.T) string {
	t.Helper()
	address, err := reserve.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func wait(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("waited in vain: " + what)
	}
}

// closedWith reads until the connection ends, and returns how.
func closedWith(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		if _, _, err := ws.Read(ctx); err != nil {
			return err.Error()
		}
	}
}

func expectText(t *testing.T, ws *websocket.Conn, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, got, err := ws.Read(ctx); err != nil || string(got) != want {
		t.Errorf("%q %v, want %q", got, err, want)
	}
}

// TestChangeRoutes: what stays is the same route with the same connections.
func TestChangeRoutes(t *testing.T) {
	s := newChanging(t)
	address := free(t)
	s.apply(gatewayOf("main", address, "/a", "/b"))
	stays, goes := s.dial("main", "/a"), s.dial("main", "/b")
	before, _ := s.Route("main", "/a")
	gone, _ := s.Route("main", "/b")

	after := s.apply(gatewayOf("main", address, "/c", "/a"))
	if end := closedWith(t, goes); !strings.Contains(end, "1001") && !strings.Contains(end, "StatusGoingAway") || !strings.Contains(end, "route removed") {
		t.Errorf("it ended with %s", end)
	}
	wait(t, "the end of the route", after)
	if route, err := s.Route("main", "/a"); route != before || err != nil {
		t.Errorf("the route that stays is another: %v", err)
	}
	if err := gone.Err(); err == nil || !gone.Removed() {
		t.Error("the route that is gone does not say so")
	}
	if _, err := gone.Broadcast(fanout.Message{Opcode: fanout.Text}); err == nil || !strings.Contains(err.Error(), `path /b of gateway "main"`) {
		t.Errorf("a broadcast to it: %v", err)
	}
	if err := s.send("main", "/b", "x"); err == nil || !strings.Contains(err.Error(), `there is "/a", "/c"`) {
		t.Errorf("it is found still: %v", err)
	}
	if err := s.send("main", "/a", "hello"); err != nil {
		t.Error(err)
	}
	expectText(t, stays, "hello")
	s.dial("main", "/c")
	s.events.waitFor(t, "main/b route_removed")
}

// TestChangeNothing: a change that fails changes nothing, and what it has bound is free
// again.
func TestChangeNothing(t *testing.T) {
	s := newChanging(t)
	address, other := free(t), free(t)
	s.apply(gatewayOf("main", address, "/a"))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	ws := s.dial("main", "/a")
	if _, err := s.prepare(gatewayOf("main", address, "/b"), gatewayOf("new", other, "/n"), gatewayOf("x", taken.Addr().String(), "/x")); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Fatalf("the address is taken: %v", err)
	}
	c, err := s.prepare(gatewayOf("main", address, "/b"), gatewayOf("new", other, "/n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Route("new", "/n"); err != nil {
		t.Error(err)
	}
	if err := c.Route("main", "/a"); err == nil {
		t.Error("a route that there will not be")
	}
	c.Discard()
	if l, err := net.Listen("tcp", other); err != nil {
		t.Error(err)
	} else {
		_ = l.Close()
	}
	if err := s.send("main", "/a", "hello"); err != nil {
		t.Error(err)
	}
	expectText(t, ws, "hello")
}

// TestChangeAddresses: two gateways exchange theirs, and a third takes one over. No
// connection ends but with its gateway.
func TestChangeAddresses(t *testing.T) {
	s := newChanging(t)
	one, two := free(t), free(t)
	s.apply(gatewayOf("a", one, "/a"), gatewayOf("b", two, "/b"))
	onA, onB := s.dial("a", "/a"), s.dial("b", "/b")
	for range 3 {
		s.apply(gatewayOf("a", two, "/a"), gatewayOf("b", one, "/b"))
		s.dial("a", "/a")
		s.dial("b", "/b")
		s.apply(gatewayOf("a", one, "/a"), gatewayOf("b", two, "/b"))
		s.dial("a", "/a")
		s.dial("b", "/b")
	}
	after := s.apply(gatewayOf("a", one, "/a"), gatewayOf("c", two, "/c"))
	if end := closedWith(t, onB); !strings.Contains(end, "server is shutting down") {
		t.Errorf("the connection of the gateway that is gone ended with %s", end)
	}
	s.dial("c", "/c")
	for _, address := range []string{two} {
		_, res, err := websocket.Dial(t.Context(), "ws://"+address+"/b", nil)
		if err == nil || res == nil || res.StatusCode != http.StatusNotFound {
			t.Errorf("the path of the gateway that is gone: %v %v", res, err)
		}
	}
	if err := s.send("a", "/a", "hello"); err != nil {
		t.Error(err)
	}
	expectText(t, onA, "hello")
	_ = after // the others are not read, and end later
	s.apply()
	if _, err := net.DialTimeout("tcp", one, time.Second); err == nil {
		t.Error("it listens without a gateway")
	}
	if err := s.send("a", "/a", "x"); err == nil || !strings.Contains(err.Error(), "this process has none") {
		t.Errorf("%v", err)
	}
}

// TestChangeFront: what net/http must know from the start changes on the same socket. No
// handshake is refused meanwhile.
func TestChangeFront(t *testing.T) {
	s := newChanging(t)
	cfg := gatewayOf("main", free(t), "/a")
	s.apply(cfg)
	stays := s.dial("main", "/a")
	stop, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			ws, _, err := websocket.Dial(context.Background(), "ws://"+cfg.Address+"/a", nil)
			if err != nil {
				failed <- err
				return
			}
			_ = ws.CloseNow()
		}
	}()
	for i := range 50 {
		cfg.Admission.HandshakeTimeout = time.Duration(10+i) * time.Second
		cfg.Admission.MaxHeaderBytes = 16<<10 + i
		s.apply(cfg)
	}
	close(stop)
	if err := <-failed; err != nil {
		t.Errorf("a handshake meanwhile: %v", err)
	}
	cfg.TLS = new(tls.Config)
	s.apply(cfg)
	if _, _, err := websocket.Dial(t.Context(), "ws://"+cfg.Address+"/a", nil); err == nil {
		t.Error("a connection without TLS")
	}
	if err := s.send("main", "/a", "hello"); err != nil {
		t.Error(err)
	}
	expectText(t, stays, "hello")
}

// TestChangeWaitsForHandlers: a handler that has begun by the terms before runs to its
// end. The next message goes by those in force. The change is over when the handler is.
func TestChangeWaitsForHandlers(t *testing.T) {
	s := newChanging(t)
	begun, release := make(chan struct{}), make(chan struct{})
	cfg := gatewayOf("main", free(t), "/a")
	cfg.Routes[0].Handlers = Handlers{Timeout: time.Minute, Message: func(context.Context, *Connection, Message) ([]Message, error) {
		close(begun)
		<-release
		return []Message{{Text: true, Data: []byte("old")}}, nil
	}}
	s.apply(cfg)
	slow, other := s.dial("main", "/a"), s.dial("main", "/a")
	if err := slow.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
		t.Fatal(err)
	}
	<-begun
	cfg.Routes = []RouteConfig{cfg.Routes[0]}
	cfg.Routes[0].Handlers.Message = func(context.Context, *Connection, Message) ([]Message, error) {
		return []Message{{Text: true, Data: []byte("new")}}, nil
	}
	after := s.apply(cfg)
	if err := other.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
		t.Fatal(err)
	}
	expectText(t, other, "new")
	select {
	case <-after:
		t.Error("the change is over, and the handler before is in use")
	default:
	}
	close(release)
	expectText(t, slow, "old")
	wait(t, "the end of the old handler", after)
}

// TestChangeAdmission: open connections stay, and those who come find the new limits.
func TestChangeAdmission(t *testing.T) {
	s := newChanging(t)
	cfg := gatewayOf("main", free(t), "/a")
	s.apply(cfg)
	for range 3 {
		s.dial("main", "/a")
	}
	refused := func(limit func(*Config), status int) {
		t.Helper()
		cfg := cfg
		cfg.Routes = []RouteConfig{cfg.Routes[0]}
		limit(&cfg)
		s.apply(cfg)
		if _, res, err := websocket.Dial(t.Context(), "ws://"+cfg.Address+"/a", nil); err == nil || res.StatusCode != status {
			t.Errorf("%v, want %d", err, status)
		}
	}
	refused(func(c *Config) { c.Admission.MaxConnections = 3 }, http.StatusServiceUnavailable)
	refused(func(c *Config) { c.Routes[0].MaxConnections = 2 }, http.StatusServiceUnavailable)
	refused(func(c *Config) { c.Admission.MaxConnectionsPerIP = 1 }, http.StatusTooManyRequests)
	s.apply(cfg)
	s.dial("main", "/a")
	if r, err := s.Route("main", "/a"); err != nil || r.Connections() != 4 {
		t.Errorf("%d connections, %v, want 4", r.Connections(), err)
	}
	bound := cfg
	bound.Bindings = access.Bindings{"other": access.Admin}
	s.apply(bound)
	if r, _ := s.Route("main", "/a"); r.Bindings().Allows("me", access.Broadcaster) {
		t.Error("the bindings are the old ones")
	}
}

// TestChangeKeepsIDs: a change of node_id does not change connection IDs. It takes effect
// at the next start.
func TestChangeKeepsIDs(t *testing.T) {
	s := newChanging(t)
	cfg := gatewayOf("main", free(t), "/a")
	cfg.NodeID = "one"
	s.apply(cfg)
	s.dial("main", "/a")
	id := s.Connections()[0].ID()
	cfg.NodeID = "two"
	s.apply(cfg)
	if _, ok := s.Connection(id); !ok || !strings.HasPrefix(id, "one-") {
		t.Errorf("connection %s is not found any more", id)
	}
}

// TestChangeUnderLoad: routes come and go while messages and clients do.
func TestChangeUnderLoad(t *testing.T) {
	s := newChanging(t)
	address := free(t)
	s.apply(gatewayOf("main", address, "/stays", "/comes"))
	const messages = 1000
	clients, done := make([]*websocket.Conn, 20), make(chan error, 20)
	for i := range clients {
		clients[i] = s.dial("main", "/stays")
		go func() {
			for n := range messages {
				_, got, err := clients[i].Read(t.Context())
				if err != nil || string(got) != fmt.Sprint(n) {
					done <- fmt.Errorf("message %d: %q %w", n, got, err)
					return
				}
			}
			done <- nil
		}()
	}
	sent := make(chan error, 1)
	go func() {
		route, err := s.Route("main", "/stays")
		for n := 0; n < messages && err == nil; n++ {
			_, err = route.Broadcast(fanout.Message{Opcode: fanout.Text, Payload: fmt.Append(nil, n)})
			if r, err := s.Route("main", "/comes"); err == nil {
				_, _ = r.Broadcast(fanout.Message{Opcode: fanout.Text, Payload: []byte("x")}) // the route may be gone by now
			}
		}
		sent <- err
	}()
	for i := range 100 {
		paths := []string{"/stays"}
		if i%2 == 0 {
			paths = append(paths, "/comes")
		}
		s.apply(gatewayOf("main", address, paths...))
		if ws, _, err := websocket.Dial(t.Context(), "ws://"+address+"/comes", nil); err == nil {
			_ = ws.CloseNow()
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	for range clients {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
