package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/iotcast/iotcast/internal/fanout"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait")) // for half a second after a bad request
}

// record is an Observer that remembers.
type record struct {
	mu     sync.Mutex
	events []string
}

func (r *record) observe(gateway, path string) Observer { return observed{r, gateway + path} }

type observed struct {
	*record
	route string
}

func (o observed) Handshake(status int, reason string) {
	o.add(strings.TrimSpace(fmt.Sprint(o.route, " ", status, " ", reason)))
}
func (o observed) Closed(reason string)         { o.add(o.route + " " + reason) }
func (o observed) Received(bytes int)           { o.add(fmt.Sprint(o.route, " received ", bytes)) }
func (o observed) HandlerFailed(handler string) { o.add(o.route + " failed " + handler) }
func (o observed) Watched(ok bool)              { o.add(fmt.Sprint(o.route, " watched ", ok)) }
func (o observed) Served(time.Duration)         {}

func (r *record) add(e string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *record) waitFor(t *testing.T, event string) {
	t.Helper()
	eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return strings.Contains(strings.Join(r.events, "\n"), event)
	})
}

func start(t testing.TB, change func(*Config)) (*Gateway, *record) {
	t.Helper()
	events := new(record)
	return startGateway(t, events.observe, change), events
}

func startGateway(t testing.TB, observe Observe, change func(*Config)) *Gateway {
	t.Helper()
	limits := fanout.Limits{QueueBytes: 1 << 20, MaxMessageBytes: 128 << 10}
	cfg := Config{
		Label: "main", Address: "127.0.0.1:0", Viewer: "/",
		Admission: Admission{HandshakeTimeout: 10 * time.Second},
		Routes:    []RouteConfig{{Path: "/a", Limits: limits}, {Path: "/b/c", Limits: limits}},
	}
	if change != nil {
		change(&cfg)
	}
	g, err := Start(cfg, observe, slog.New(slog.DiscardHandler))
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

func dial(t *testing.T, g *Gateway, path string) *websocket.Conn {
	t.Helper()
	c, res, err := websocket.Dial(t.Context(), "ws://"+g.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if id := res.Header.Get(headerConnectionID); len(strings.TrimPrefix(id, g.node+"-")) != 36 {
		t.Fatalf("connection ID %q", id)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

func TestBroadcastReachesItsRouteOnly(t *testing.T) {
	g, events := start(t, nil)
	a, b := dial(t, g, "/a"), dial(t, g, "/b/c")
	if n, err := g.Routes()["/a"].Broadcast(fanout.Message{Opcode: fanout.Text, Payload: []byte("for a")}); n != 1 || err != nil {
		t.Fatal(n)
	}
	_, _ = g.Routes()["/b/c"].Broadcast(fanout.Message{Opcode: fanout.Binary, Payload: []byte("for b")})
	for c, want := range map[*websocket.Conn]string{a: "text for a", b: "binary for b"} {
		typ, p, err := c.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ToLower(strings.TrimPrefix(typ.String(), "Message")) + " " + string(p); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if err := a.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Error(err)
	}
	events.waitFor(t, "main/a closed_by_client")
	_ = b.CloseNow()
	events.waitFor(t, "main/b/c connection_lost")
	eventually(t, func() bool { return g.Routes()["/a"].Connections()+g.Routes()["/b/c"].Connections() == 0 })
}

func TestCompressionIsNegotiated(t *testing.T) {
	for _, tc := range []struct {
		gateway bool
		client  websocket.CompressionMode
		want    string
	}{
		{false, websocket.CompressionNoContextTakeover, ""},
		{true, websocket.CompressionDisabled, ""},
		{true, websocket.CompressionNoContextTakeover, "permessage-deflate; client_no_context_takeover; server_no_context_takeover"},
		{true, websocket.CompressionContextTakeover, "permessage-deflate; client_no_context_takeover; server_no_context_takeover"},
	} {
		g, _ := start(t, func(c *Config) { c.Routes[0].Compression = tc.gateway })
		c, res, err := websocket.Dial(t.Context(), "ws://"+g.Addr().String()+"/a",
			&websocket.DialOptions{CompressionMode: tc.client, CompressionThreshold: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Header.Get("Sec-WebSocket-Extensions"); got != tc.want {
			t.Errorf("%+v: %q", tc, got)
		}
		c.SetReadLimit(-1)
		for _, text := range []string{"short", strings.Repeat("a long message, ", 10_000)} {
			_, _ = g.Routes()["/a"].Broadcast(fanout.Message{Opcode: fanout.Text, Payload: []byte(text)})
			if _, p, err := c.Read(t.Context()); err != nil || string(p) != text {
				t.Fatalf("%+v: %d bytes, %v", tc, len(p), err)
			}
			if err := c.Write(t.Context(), websocket.MessageText, []byte(text[:min(len(text), 1000)])); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.CloseNow()
	}
}

func TestPingsAreAnsweredWhileMessagesFlow(t *testing.T) {
	g, _ := start(t, func(c *Config) { c.Routes[0].Limits.PingInterval = 300 * time.Millisecond })
	c := dial(t, g, "/a")
	done := make(chan int)
	go func() {
		n := 0
		for ; n < 2000; n++ {
			if _, p, err := c.Read(t.Context()); err != nil || string(p) != fmt.Sprint(n) {
				t.Errorf("message %d: %q %v", n, p, err)
				break
			}
		}
		done <- n
	}()
	const pings = 50
	answered := make(chan struct{}, pings)
	go func() {
		for i := range 2000 {
			_, _ = g.Routes()["/a"].Broadcast(fanout.Message{Opcode: fanout.Text, Payload: []byte(fmt.Sprint(i))})
			if i%(2000/pings) == 0 {
				<-answered
			}
		}
	}()
	for range pings {
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		answered <- struct{}{}
	}
	if n := <-done; n != 2000 {
		t.Fatal(n)
	}
}

func TestFramesRightBehindTheHandshake(t *testing.T) {
	g, _ := start(t, nil)
	nc, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	// The request and a masked ping in one write: net/http reads both.
	_, _ = io.WriteString(nc, "GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"+
		"\x89\x80\x00\x00\x00\x00"+"\x89\x9d\x00\x00\x00\x00a ping longer than any buffer")
	r := bufio.NewReader(nc)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res, err)
	}
	if accept := res.Header.Get("Sec-WebSocket-Accept"); accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatal(accept) // the value of RFC 6455, section 1.3
	}
	want := "\x8a\x00" + "\x8a\x1da ping longer than any buffer"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("%q %v", got, err)
	}
}

func TestClientsThatBreakRules(t *testing.T) {
	for name, tc := range map[string]struct {
		send   string
		status websocket.StatusCode
		reason string
	}{
		"too large":         {"\x82\xfe\x04\x01\x00\x00\x00\x00" + strings.Repeat("x", 1025), websocket.StatusMessageTooBig, reasonTooBig},
		"unmasked":          {"\x81\x02hi", websocket.StatusProtocolError, reasonProtocol},
		"reserved bit":      {"\xc1\x82\x00\x00\x00\x00hi", websocket.StatusProtocolError, reasonProtocol},
		"unknown opcode":    {"\x83\x82\x00\x00\x00\x00hi", websocket.StatusProtocolError, reasonProtocol},
		"invalid UTF-8":     {"\x81\x82\x00\x00\x00\x00h\xff", websocket.StatusInvalidFramePayloadData, reasonUTF8},
		"frame too large":   {"\x82\xfe\x02\x01\x00\x00\x00\x00" + strings.Repeat("x", 513), websocket.StatusMessageTooBig, reasonTooBig},
		"cut in two":        {"\x01\x81\x00\x00\x00\x00\xe2\x80\x80\x00\x00\x00\x00", websocket.StatusInvalidFramePayloadData, reasonUTF8},
		"lone continuation": {"\x80\x82\x00\x00\x00\x00hi", websocket.StatusProtocolError, reasonProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			g, events := start(t, func(c *Config) { c.Routes[0].Limits.MaxMessageBytes, c.Routes[0].Limits.MaxFrameBytes = 1024, 512 })
			bystander := dial(t, g, "/a")
			var raw net.Conn
			keep := func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
				raw, err = new(net.Dialer).DialContext(ctx, network, addr)
				return raw, err
			}
			c, _, err := websocket.Dial(t.Context(), "ws://"+g.Addr().String()+"/a", &websocket.DialOptions{
				HTTPClient: &http.Client{Transport: &http.Transport{DialContext: keep}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.CloseNow() }()
			if _, err := io.WriteString(raw, tc.send); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != tc.status {
				t.Errorf("got %v, want status %d", err, tc.status)
			}
			events.waitFor(t, "main/a "+tc.reason)
			_, _ = g.Routes()["/a"].Broadcast(fanout.Message{Opcode: fanout.Text, Payload: []byte("still here")})
			if _, p, err := bystander.Read(t.Context()); err != nil || string(p) != "still here" {
				t.Errorf("%q %v", p, err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	g, events := start(t, func(c *Config) { c.Routes[0].AllowedOrigins = []string{"*.example.com"} })
	url := "http://" + g.Addr().String()
	for _, tc := range []struct {
		path, origin string
		upgrade      bool
		want         int
	}{
		{"/nowhere", "", true, 404},
		{"/a/", "", true, 404},
		{"/b", "", true, 404},
		{"//a", "", true, 404},
		{"/b/../a", "", true, 404},
		{"/b%2fc", "", true, 404},
		{"/%61", "", true, 404},
		{"/a", "", false, 426},
		{"/a", "http://evil.test", true, 403},
		{"/a", "http://good.example.com", true, 101},
		{"/a", url, true, 101},
		{"/a", strings.ToUpper(url), true, 101},
		{"/", "", false, 200},
		{"/iotcast.js", "", false, 200},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+tc.path, nil)
		if tc.upgrade {
			req.Header = http.Header{
				"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
				"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
			}
		}
		if tc.origin != "" {
			req.Header.Set("Origin", tc.origin)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != tc.want {
			t.Errorf("%+v: %d", tc, res.StatusCode)
		}
		if id := res.Header.Get(headerConnectionID); (id != "") != (tc.want == 101) {
			t.Errorf("%+v: connection ID %q", tc, id)
		}
	}
	events.waitFor(t, "main/a 403 origin")
	events.waitFor(t, "main 404 path")
	events.waitFor(t, "main/a 426 handshake")
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestCloseSaysGoingAway(t *testing.T) {
	g, events := start(t, nil)
	c := dial(t, g, "/a")
	go g.Close(context.Background())
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Fatal(err)
	}
	events.waitFor(t, "main/a shutdown")
}

func TestAddressInUse(t *testing.T) {
	g, _ := start(t, nil)
	_, err := Start(Config{Label: "second", Address: g.Addr().String()}, new(record).observe, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), `"second"`) || !strings.Contains(err.Error(), g.Addr().String()) {
		t.Fatal(err)
	}
}

func TestUnknownRoutesAreListed(t *testing.T) {
	g, _ := start(t, nil)
	set := NewSet(g)
	for _, tc := range []struct{ label, path, want string }{
		{"other", "/a", `there is "main"`},
		{"main", "/x", `there is "/a", "/b/c"`},
	} {
		if _, err := set.Route(tc.label, tc.path); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %s", err, tc.want)
		}
	}
	if _, err := NewSet().Route("main", "/a"); err == nil || !strings.Contains(err.Error(), "this process has none") {
		t.Error(err)
	}
	if _, err := set.Route("main", "/a"); err != nil {
		t.Error(err)
	}
}

func TestReasons(t *testing.T) {
	for want, cause := range map[string]error{
		reasonSlow:     fanout.ErrSlowConsumer,
		reasonIdle:     fanout.ErrIdle,
		reasonLifetime: fanout.ErrLifetime,
		reasonNoPong:   fanout.ErrNoPong,
		reasonTooBig:   fanout.ErrTooBig,
		reasonUTF8:     fanout.ErrUTF8,
		reasonProtocol: fmt.Errorf("%w: reserved bits", fanout.ErrProtocol),
		reasonExpired:  errExpired,
		reasonClient:   fanout.ClosedByPeer{Code: 1000},
		reasonLost:     fmt.Errorf("%w: %w", fanout.ErrLost, io.EOF),
		reasonShutdown: errShutdown,
		reasonServer:   errDisconnect,
	} {
		if got := endOf(cause).Reason; got != want {
			t.Errorf("%v: %s, want %s", cause, got, want)
		}
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
