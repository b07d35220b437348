package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/iotcast/iotcast/plugins/feed"
	"github.com/iotcast/iotcast/plugins/gateway"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*http2ClientConn).readLoop"), goleak.IgnoreAnyFunction("net/http/internal/http2.(*ClientConn).readLoop"))
}

// logged is what a gateway tells its operator.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newGateway(t testing.TB, options gateway.Options) *gateway.Gateway {
	t.Helper()
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	g, err := gateway.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		g.Close(ctx)
	})
	return g
}

// serve returns the URL of a server.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func dial(t testing.TB, url string, options *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func read(t testing.TB, c *websocket.Conn) string {
	t.Helper()
	_, p, err := c.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func get(t testing.TB, c *http.Client, url string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so within 10 s: %s", what)
		}
	}
}

// TestNoBenthos: whoever imports the package links neither Benthos nor MQTT.
func TestNoBenthos(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "github.com/iotcast/iotcast/plugins/gateway").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "github.com/iotcast/iotcast/internal/fanout") {
		t.Fatalf("these are not the dependencies: %v", deps)
	}
	for _, dep := range deps {
		for _, not := range []string{"benthos", "redpanda", "paho", "mochi", "nats"} {
			if strings.Contains(dep, not) {
				t.Errorf("it needs %s", dep)
			}
		}
	}
}

// wrapped is a middleware, with or without a way to what it wraps.
type wrapped struct{ http.ResponseWriter }

type unwrapping struct{ wrapped }

func (u unwrapping) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func behind(h http.Handler, wrap func(http.ResponseWriter) http.ResponseWriter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Middleware", "yes")
		h.ServeHTTP(wrap(w), r)
	})
}

// TestServers: the gateway stands in servers of all kinds, and its messages arrive by WebSocket and as events.
func TestServers(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, g *gateway.Gateway) (url string, client *http.Client){
		"plain": func(t *testing.T, g *gateway.Gateway) (string, *http.Client) {
			return serve(t, g), http.DefaultClient
		},
		"TLS": func(t *testing.T, g *gateway.Gateway) (string, *http.Client) {
			s := httptest.NewTLSServer(g)
			t.Cleanup(s.Close)
			return s.URL, s.Client()
		},
		"ForTLS": func(t *testing.T, g *gateway.Gateway) (string, *http.Client) {
			s := httptest.NewUnstartedServer(g)
			s.Listener = gateway.ForTLS(s.Listener)
			s.StartTLS()
			t.Cleanup(s.Close)
			return s.URL, s.Client()
		},
		"below a prefix": func(t *testing.T, g *gateway.Gateway) (string, *http.Client) {
			mux := http.NewServeMux()
			mux.Handle("GET /api/live/", http.StripPrefix("/api/live", g))
			return serve(t, mux) + "/api/live/telemetry", http.DefaultClient
		},
		"behind a middleware": func(t *testing.T, g *gateway.Gateway) (string, *http.Client) {
			twice := func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{wrapped{unwrapping{wrapped{w}}}} }
			return serve(t, behind(g, twice)), http.DefaultClient
		},
		"with timeouts": func(t *testing.T, g *gateway.Gateway) (string, *http.Client) {
			s := httptest.NewUnstartedServer(g)
			const soon = 50 * time.Millisecond
			s.Config.ReadTimeout, s.Config.WriteTimeout, s.Config.IdleTimeout = soon, soon, soon
			s.Start()
			t.Cleanup(s.Close)
			return s.URL, http.DefaultClient
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, gateway.Options{SSE: true})
			url, client := start(t, g)
			ws := dial(t, url, &websocket.DialOptions{HTTPClient: client})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept", "text/event-stream")
			events, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer events.Body.Close()
			lines := bufio.NewScanner(events.Body)
			for _, want := range []string{":", ""} { // a comment comes at once, so that no proxy holds the header back
				if !lines.Scan() || lines.Text() != want {
					t.Fatalf("the stream begins with %q, want %q", lines.Text(), want)
				}
			}
			eventually(t, "two connections", func() bool { return g.Connections() == 2 })
			if name == "with timeouts" {
				time.Sleep(100 * time.Millisecond) // they are over then
			}
			for i := range 3 {
				id := fmt.Sprint("message ", i)
				if err := g.Broadcast(gateway.Message{EventID: id, Topic: "$devices/boiler/events", Payload: []byte("x")}); err != nil {
					t.Fatal(err)
				}
				text := read(t, ws)
				if !strings.Contains(text, `"event_id":"`+id+`"`) || !strings.Contains(text, `"device_id":"boiler"`) {
					t.Errorf("got %s", text)
				}
				for _, want := range []string{"id: " + id, "data: " + text, ""} {
					if !lines.Scan() || lines.Text() != want {
						t.Fatalf("got %q, want %q", lines.Text(), want)
					}
				}
			}
			if strings.Contains(name, "middleware") && events.Header.Get("X-Middleware") == "" {
				t.Error("headers of the middleware are lost")
			}
			if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
			eventually(t, "its end is counted", func() bool { return g.Stats().Closed["closed_by_client"] == 1 })
		})
	}
}

// TestNoSocket: where the socket cannot be had, the answer says why.
func TestNoSocket(t *testing.T) {
	log := new(logged)
	g := newGateway(t, gateway.Options{SSE: true, MaxConnections: 1, Logger: slog.New(slog.NewTextHandler(log, nil))})
	handshake := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	for name, h := range map[string]http.Handler{
		"a middleware":    behind(g, func(w http.ResponseWriter) http.ResponseWriter { return wrapped{w} }),
		"TimeoutHandler":  http.TimeoutHandler(g, time.Minute, ""),
		"a recorder":      http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { recorded(w, r, g) }),
		"a broken Hijack": behind(g, func(w http.ResponseWriter) http.ResponseWriter { return broken{w} }),
	} {
		url := serve(t, h)
		for _, header := range []http.Header{handshake, {"Accept": {"text/event-stream"}}} {
			res, body := get(t, http.DefaultClient, url, header)
			if res.StatusCode != http.StatusInternalServerError || !strings.Contains(body, "Unwrap") {
				t.Errorf("%s: status %d, %q", name, res.StatusCode, body)
			}
			if res.Header.Get("Upgrade")+res.Header.Get("Sec-Websocket-Accept")+res.Header.Get("X-Yc-Apigateway-Websocket-Connection-Id") != "" {
				t.Errorf("%s: the answer has headers of a connection: %v", name, res.Header)
			}
		}
	}
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "Unwrap") {
		t.Errorf("the log: %s", log)
	}
	if s := g.Stats(); s.Connections != 0 || s.Refused["handshake"] != 8 { // and none of them keeps the only place
		t.Errorf("%+v", s)
	}
}

func recorded(w http.ResponseWriter, r *http.Request, h http.Handler) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = rec.Body.WriteTo(w)
}

type broken struct{ http.ResponseWriter }

func (broken) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errors.New("away") }

// TestHTTP2: a server that offers HTTP/2 serves WebSockets, which browsers open by HTTP/1.1, and says why it has no more.
func TestHTTP2(t *testing.T) {
	g := newGateway(t, gateway.Options{SSE: true})
	s := httptest.NewUnstartedServer(g)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	for _, header := range []http.Header{{"Accept": {"text/event-stream"}}, {}} {
		res, body := get(t, s.Client(), s.URL, header)
		if res.ProtoMajor != 2 || res.StatusCode != http.StatusHTTPVersionNotSupported || !strings.Contains(body, "HTTP/1.1") {
			t.Errorf("%s: status %d, %q", res.Proto, res.StatusCode, body)
		}
	}
	one := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: new(http.Protocols)}
	one.Protocols.SetHTTP1(true)
	defer one.CloseIdleConnections()
	ws := dial(t, s.URL, &websocket.DialOptions{HTTPClient: &http.Client{Transport: one}})
	if err := g.BroadcastRaw(gateway.Frame{Data: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	if got := read(t, ws); got != "hello" {
		t.Errorf("got %q", got)
	}
}

// TestOrigins: a page of another origin is refused, and the log says which option lets it in.
func TestOrigins(t *testing.T) {
	log := new(logged)
	g := newGateway(t, gateway.Options{AllowedOrigins: []string{"*.example.com"}, Logger: slog.New(slog.NewTextHandler(log, nil))})
	url := serve(t, g)
	for origin, want := range map[string]int{"": 101, url: 101, "https://live.example.com": 101, "https://evil.test": 403} {
		c, res, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {origin}}})
		if res == nil || res.StatusCode != want {
			t.Errorf("origin %q: %v", origin, err)
		}
		if c != nil {
			_ = c.CloseNow()
		}
	}
	if !strings.Contains(log.String(), "AllowedOrigins") || !strings.Contains(log.String(), "evil.test") {
		t.Errorf("the log: %s", log)
	}
}

// TestThousand: all of a thousand clients get all messages, in order, and one costs no goroutine.
func TestThousand(t *testing.T) {
	const clients, messages = 1000, 20
	g := newGateway(t, gateway.Options{})
	url := serve(t, g)
	before := runtime.NumGoroutine()
	address := strings.TrimPrefix(url, "http://")
	conns := make([]*bufio.Reader, clients)
	for i := range conns {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		conns[i] = bufio.NewReaderSize(nc, 512)
		_, _ = fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
		res, err := http.ReadResponse(conns[i], nil)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(res, err)
		}
	}
	if runtime.GOOS == "linux" {
		eventually(t, "they cost no goroutine each", func() bool { return runtime.NumGoroutine() < before+clients/10 })
	}
	for i := range messages {
		if err := g.BroadcastRaw(gateway.Frame{Data: fmt.Appendf(nil, "%04d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	var want []byte
	for i := range messages {
		want = fmt.Appendf(append(want, 0x81, 4), "%04d", i)
	}
	got := make([]byte, len(want))
	for _, c := range conns {
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if s := g.Stats(); s.Connections != clients || s.Messages != messages || s.Deliveries != clients*messages {
		t.Errorf("%+v", s)
	}
}

// TestSlowConsumer: who does not read is treated as the option says, and costs the others nothing.
func TestSlowConsumer(t *testing.T) {
	for policy, slowEnds := range map[gateway.Policy]bool{gateway.Disconnect: true, gateway.DropOldest: false, gateway.OnlyLatest: false} {
		g := newGateway(t, gateway.Options{SlowConsumer: policy, QueueBytes: 64 << 10, Latest: gateway.ByDevice})
		url := serve(t, g)
		slow, fast := dial(t, url, nil), dial(t, url, nil)
		payload := bytes.Repeat([]byte("x"), 16<<10)
		for i := range 600 { // 13 MB: more than the kernel takes
			if err := g.Broadcast(gateway.Message{EventID: fmt.Sprint(i), Topic: "t", DeviceID: "d", Payload: payload}); err != nil {
				t.Fatal(err)
			}
			if text := read(t, fast); !strings.Contains(text, fmt.Sprintf(`"event_id":"%d"`, i)) {
				t.Fatalf("policy %d: got %.100s", policy, text)
			}
		}
		slow.SetReadLimit(1 << 20)
		gap := false
		for {
			_, p, err := slow.Read(t.Context())
			if gap = strings.Contains(string(p), `"gap":{"reason":"slow_consumer"`); gap {
				break
			}
			if err != nil {
				if got := websocket.CloseStatus(err); !slowEnds || got != websocket.StatusTryAgainLater && got != -1 {
					t.Errorf("policy %d: %v", policy, err)
				}
				break
			}
		}
		if dropped := g.Stats().Dropped > 0; gap == slowEnds || dropped == slowEnds {
			t.Errorf("policy %d: told of a gap: %v, dropped: %v", policy, gap, dropped)
		}
		if slowEnds {
			eventually(t, "its end is counted", func() bool { return g.Stats().Closed["slow_consumer"] == 1 })
		}
	}
}

// TestClose: everyone gets what was broadcast before, and is told to go.
func TestClose(t *testing.T) {
	g := newGateway(t, gateway.Options{SSE: true, History: gateway.History{MaxMessages: 1}})
	url := serve(t, g)
	c := dial(t, url, nil)
	if err := g.BroadcastRaw(gateway.Frame{Data: []byte("the last")}); err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		g.Close(t.Context())
		g.Close(t.Context())
	}()
	if got := read(t, c); got != "the last" {
		t.Errorf("got %q", got)
	}
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("closed with %v", err)
	}
	<-closed
	if err := g.Broadcast(gateway.Message{}); !errors.Is(err, gateway.ErrClosed) {
		t.Errorf("a broadcast: %v", err)
	}
	if err := g.BroadcastRaw(gateway.Frame{}); !errors.Is(err, gateway.ErrClosed) {
		t.Errorf("a broadcast: %v", err)
	}
	res, body := get(t, http.DefaultClient, url, nil)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "closed") {
		t.Errorf("status %d, %q", res.StatusCode, body)
	}
	if s := g.Stats(); s.Connections != 0 || s.Closed["shutdown"] != 1 {
		t.Errorf("%+v", s)
	}
}

// TestCloseIsBounded: who does not answer is cut off with the context.
func TestCloseIsBounded(t *testing.T) {
	g := newGateway(t, gateway.Options{})
	c := dial(t, serve(t, g), nil) // reads nothing, so says no goodbye
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g.Close(ctx)
	if _, _, err := c.Read(t.Context()); err == nil {
		t.Error("it goes on")
	}
	eventually(t, "nobody is left", func() bool { return g.Connections() == 0 })
}

// TestLive: a program that was away goes on where it was, one that is new begins with last values, and either gets what it chooses.
func TestLive(t *testing.T) {
	g := newGateway(t, gateway.Options{
		Format:  gateway.Format{RegistryID: "reg", JSON: true},
		History: gateway.History{MaxAge: time.Hour}, Watch: true, Latest: gateway.ByDevice,
	})
	url := serve(t, g)
	for i, device := range []string{"boiler", "pump", "boiler", "pump"} {
		m := gateway.Message{EventID: fmt.Sprint(i), Topic: "$devices/" + device + "/events", Payload: fmt.Append(nil, i)}
		if err := g.Broadcast(m); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		options feed.Options
		want    string
	}{
		"new":        {feed.Options{}, "[2 boiler 2] [3 pump 3]"},
		"chosen":     {feed.Options{Choice: feed.Choice{DeviceIDs: []string{"boiler"}}}, "[2 boiler 2]"},
		"back":       {feed.Options{LastEventID: "0"}, "[1 pump 1] [2 boiler 2] [3 pump 3]"},
		"back, some": {feed.Options{LastEventID: "0", Choice: feed.Choice{Topics: []string{"$devices/pump/#"}}}, "[1 pump 1] [3 pump 3]"},
	} {
		tc.options.JSON = true
		f, err := feed.New(url, tc.options)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for event, err := range f.Events(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			m, ok := event.(feed.Message)
			if !ok {
				continue
			}
			payload, err := m.Payload()
			if err != nil {
				t.Error(err)
			}
			got = append(got, fmt.Sprint([]string{m.EventID, m.DeviceID, string(payload)}))
			if m.RegistryID != "reg" {
				t.Errorf("%+v", m)
			}
			if len(got) == strings.Count(tc.want, "]") {
				break
			}
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%s: got %s, want %s", name, s, tc.want)
		}
	}
	if s := g.Stats(); s.HistoryMessages != 4 || s.LatestMessages != 2 {
		t.Errorf("%+v", s)
	}
}

func TestClient(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/live/", gateway.Client())
	mux.Handle("/iotcast.js", gateway.Client())
	url := serve(t, mux)
	for path, want := range map[string]int{
		"/iotcast.js": 200, "/live/iotcast.js": 200, "/live/events.js": 200, "/live/shared.js": 200, "/live/sharedworker.js": 200, "/live/other.js": 404, "/live/": 404,
	} {
		res, body := get(t, http.DefaultClient, url+path, nil)
		if res.StatusCode != want || want == 200 && (!strings.Contains(body, "export") && !strings.Contains(body, "onconnect") || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/javascript")) {
			t.Errorf("%s: status %d, %v", path, res.StatusCode, res.Header)
		}
	}
}

// TestOptions: what is wrong is said, by the option's name.
func TestOptions(t *testing.T) {
	for want, options := range map[string]gateway.Options{
		"AllowedOrigins":  {AllowedOrigins: []string{"https://a.example/path"}},
		"MaxConnections":  {MaxConnections: -1},
		"History":         {History: gateway.History{MaxAge: -1}},
		"QueueBytes":      {QueueBytes: 100},
		"SlowConsumer":    {SlowConsumer: 3},
		"Latest":          {Latest: -1},
		"set Latest":      {SlowConsumer: gateway.OnlyLatest},
		"from a broker":   {Format: gateway.Format{RegistryID: "a", BrokerID: "b"}},
		"RegistryID \"xx": {Format: gateway.Format{RegistryID: strings.Repeat("x", 51)}},
	} {
		g, err := gateway.New(options)
		if g != nil || err == nil || !strings.HasPrefix(err.Error(), "gateway: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestBroadcast: what can be sent is sent in as few envelopes as fit, and what cannot is refused as a whole.
func TestBroadcast(t *testing.T) {
	g := newGateway(t, gateway.Options{QueueBytes: 16 << 10})
	c := dial(t, serve(t, g), nil)
	payload := bytes.Repeat([]byte("x"), 3<<10) // of which three fit
	var messages []gateway.Message
	for range 7 {
		messages = append(messages, gateway.Message{Topic: "t", Payload: payload})
	}
	if err := g.Broadcast(append(messages, gateway.Message{Topic: "large", Payload: make([]byte, 16<<10)})...); err == nil || !strings.Contains(err.Error(), `"large"`) || !strings.Contains(err.Error(), "QueueBytes") {
		t.Errorf("a message that is too large: %v", err)
	}
	if err := g.Broadcast(gateway.Message{Topic: "t", DeviceID: strings.Repeat("x", 51)}); err == nil || !strings.Contains(err.Error(), "DeviceID") {
		t.Errorf("a device ID that is too long: %v", err)
	}
	if err := g.Broadcast(); err != nil {
		t.Errorf("nothing: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- g.Broadcast(messages...) }()
	var ids []string
	for _, want := range []int{3, 3, 1} {
		var e struct {
			Messages []struct {
				Metadata struct {
					ID string `json:"event_id"`
				} `json:"event_metadata"`
			}
		}
		if err := json.Unmarshal([]byte(read(t, c)), &e); err != nil || len(e.Messages) != want {
			t.Fatalf("%d messages, want %d: %v", len(e.Messages), want, err)
		}
		for _, m := range e.Messages {
			ids = append(ids, m.Metadata.ID)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 7 {
		t.Errorf("event IDs: %v", ids)
	}
}

func TestBroadcastRaw(t *testing.T) {
	g := newGateway(t, gateway.Options{QueueBytes: 16 << 10, History: gateway.History{MaxMessages: 10}})
	c := dial(t, serve(t, g), nil)
	for want, f := range map[string]gateway.Frame{"UTF-8": {Data: []byte{0xff}}, "QueueBytes": {Data: make([]byte, 17<<10), Binary: true}} {
		if err := g.BroadcastRaw(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	data := []byte{0xff, 0}
	for range 2 { // the second is known
		if err := g.BroadcastRaw(gateway.Frame{Data: data, Binary: true, EventID: "1"}); err != nil {
			t.Error(err)
		}
	}
	data[0] = 'x' // it was copied
	if err := g.BroadcastRaw(gateway.Frame{Data: []byte("text")}); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"MessageBinary \xff\x00", "MessageText text"} {
		kind, p, err := c.Read(t.Context())
		if got := kind.String() + " " + string(p); err != nil || got != want {
			t.Errorf("got %q, %v", got, err)
		}
	}
}
