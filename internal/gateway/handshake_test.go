package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// ways returns requests that are, or look like, handshakes (RFC 6455, section 4.1), each
// without its last empty line. Each line of a handshake is written in every way by itself.
// The method, the version and Upgrade are written in every way together.
func ways() (all []string) {
	upgrades := []string{
		"Upgrade: websocket", "Upgrade: WebSocket", "upgrade: WEBSOCKET", "UPGRADE:websocket", "Upgrade: \t websocket \t",
		"Upgrade: websocket, x", "Upgrade: x, websocket", "Upgrade: websocket,", "Upgrade: ,websocket", "Upgrade: x,WebSocket ,y",
		"Upgrade: websocket\r\nUpgrade: x", "Upgrade: x\r\nUpgrade: websocket", "Upgrade:\r\nUpgrade: websocket",
		"Upgrade: x,\r\n websocket", "Upgrade: websocket/13", "Upgrade: websocket;x", "Upgrade: \"websocket\"", "Upgrade: web socket", "Upgrade:", "X: x",
	}
	lines := []string{"GET /a HTTP/1.1", "Host: gateway", upgrades[0], "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	with := func(changed map[int]string) string {
		way := ""
		for i, line := range lines {
			if other, ok := changed[i]; ok {
				line = other
			}
			way += line + "\r\n"
		}
		return way
	}
	for _, method := range []string{"GET", "get", "HEAD", "POST", "PUT", "OPTIONS", "CONNECT", "PRI", "X"} {
		for _, version := range []string{"1.1", "1.0", "2.0", "0.9"} {
			for _, upgrade := range upgrades {
				all = append(all, with(map[int]string{0: method + " /a HTTP/" + version, 2: upgrade}))
			}
		}
	}
	for i, others := range map[int][]string{
		0: {"GET http://gateway/a HTTP/1.1", "GET http://other/a HTTP/1.1", "GET //a HTTP/1.1", "GET /a? HTTP/1.1", "GET /a#b HTTP/1.1", "GET /%61 HTTP/1.1", "GET *  HTTP/1.1"},
		1: {"Host:", "Host: a\r\nHost: b", "X: x"},
		3: {"Connection: upgrade", "Connection: keep-alive, Upgrade", "Connection: close, Upgrade", "Connection: close\r\nConnection: Upgrade", "Connection: close", "X: x"},
		4: {"Sec-WebSocket-Version: 8", "Sec-WebSocket-Version: 13, 8", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8", "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Version: 13", "X: x"},
		5: {"Sec-WebSocket-Key: short", "Sec-WebSocket-Key:  dGhlIHNhbXBsZSBub25jZQ== ", lines[5] + "\r\n" + lines[5], lines[5] + "\r\nContent-Length: 0", lines[5] + "\r\nTransfer-Encoding: chunked", lines[5] + "\r\nExpect: 100-continue", "X: x"},
	} {
		for _, other := range others {
			all = append(all, with(map[int]string{i: other}))
		}
	}
	return all
}

// statusOf sends a request and returns the HTTP status of the answer, 0 without one.
func statusOf(t *testing.T, g *Gateway, request string) int {
	t.Helper()
	nc, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.(*net.TCPConn).SetLinger(0)
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(nc, request); err != nil {
		t.Fatal(err)
	}
	_ = nc.(*net.TCPConn).CloseWrite() // or else a body is waited for
	for r := bufio.NewReader(nc); ; {
		res, err := http.ReadResponse(r, nil)
		switch {
		case isTimeout(err):
			t.Fatalf("no answer to %q", request)
		case err != nil: // HTTP/0.9, or the connection was reset
			return 0
		case res.StatusCode != http.StatusContinue:
			return res.StatusCode
		}
	}
}

// TestNoConnectionWithoutAVerdict: whatever the guards refuse is refused, however
// it is written.
func TestNoConnectionWithoutAVerdict(t *testing.T) {
	open, _ := start(t, nil)
	all := ways()
	opens := map[string]bool{}
	for _, way := range all {
		opens[way] = statusOf(t, open, way+"\r\n") == http.StatusSwitchingProtocols
	}
	if n := strings.Count(fmt.Sprint(opens), ":true"); n < 20 {
		t.Fatalf("only %d of %d ways open a connection: nothing is tried", n, len(all))
	}
	tokens := &Tokens{Verifier: verifier(t), RoutesClaim: "routes"}
	withTokens := func(c *Config) { c.Routes[0].Tokens = tokens }
	good := sign(t, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "routes": "/a"})
	other := sign(t, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "routes": "/b/c"})
	for name, guard := range map[string]struct {
		change func(*Config)
		before func(*Gateway)
		header string
		status int
	}{
		"origin":        {header: "Origin: https://evil.test\r\n", status: 403},
		"two origins":   {header: "Origin: http://gateway\r\nOrigin: https://evil.test\r\n", status: 403},
		"no token":      {change: withTokens, status: 401},
		"a bad token":   {change: withTokens, header: "Authorization: Bearer x\r\n", status: 401},
		"two tokens":    {change: withTokens, header: "Authorization: Bearer " + good + "\r\nAuthorization: Bearer " + good + "\r\n", status: 401},
		"another route": {change: withTokens, header: "Authorization: Bearer " + other + "\r\n", status: 403},
		"on_connect": {change: func(c *Config) {
			c.Routes[0].Handlers.Connect = func(context.Context, *Request) (Answer, error) { return Answer{Status: 403}, nil }
		}, status: 403},
		"on_connect fails": {change: func(c *Config) {
			c.Routes[0].Handlers.Connect = func(context.Context, *Request) (Answer, error) { return Answer{}, errors.New("away") }
		}, status: 500},
		"max_connections":           {change: func(c *Config) { c.Admission.MaxConnections = 1 }, before: func(g *Gateway) { dial(t, g, "/a") }, status: 503},
		"the route max_connections": {change: func(c *Config) { c.Routes[0].MaxConnections = 1 }, before: func(g *Gateway) { dial(t, g, "/a") }, status: 503},
		"max_connections_per_ip":    {change: func(c *Config) { c.Admission.MaxConnectionsPerIP = 1 }, before: func(g *Gateway) { dial(t, g, "/a") }, status: 429},
		"handshake_rate":            {before: func(g *Gateway) { g.admission.rate = rate.NewLimiter(0, 0) }, status: 429},
	} {
		t.Run(name, func(t *testing.T) {
			g, _ := start(t, guard.change)
			if guard.before != nil {
				guard.before(g)
			}
			for _, way := range all {
				status := statusOf(t, g, way+guard.header+"\r\n")
				if status == http.StatusSwitchingProtocols || opens[way] && status != guard.status {
					t.Errorf("status %d, want %d:\n%q", status, guard.status, way+guard.header)
				}
			}
		})
	}
}

// TestHandshakeThatBreaksOff: a handshake that cannot be answered any more is not counted
// as a connection.
func TestHandshakeThatBreaksOff(t *testing.T) {
	g, events := start(t, func(c *Config) { c.Admission.MaxConnections = 1 })
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gateway/a", nil)
	req.Header, req.RemoteAddr = handshake, "127.0.0.1:1"
	g.ServeHTTP(broken{header: http.Header{}}, req)
	events.waitFor(t, "main/a 500 handshake")
	if n := len(NewSet(g).Connections()) + g.Routes()["/a"].Connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
	dial(t, g, "/a") // the one place is free
}

// broken is a ResponseWriter whose connection is gone.
type broken struct{ header http.Header }

func (b broken) Header() http.Header         { return b.header }
func (b broken) WriteHeader(int)             {}
func (b broken) Write(p []byte) (int, error) { return len(p), nil }

func (b broken) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, errors.New("connection reset by peer")
}
