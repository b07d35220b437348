package gateway

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestLimits(t *testing.T) {
	for reason, tc := range map[string]struct {
		change func(*Config)
		status int
	}{
		"max_connections":        {func(c *Config) { c.Admission.MaxConnections = 2 }, 503},
		"route_max_connections":  {func(c *Config) { c.Routes[0].MaxConnections = 2 }, 503},
		"max_connections_per_ip": {func(c *Config) { c.Admission.MaxConnectionsPerIP = 2 }, 429},
		"handshake_rate":         {func(c *Config) { c.Admission.HandshakeRate = 2 }, 429},
	} {
		g, events := start(t, tc.change)
		first := dial(t, g, "/a")
		dial(t, g, "/a")
		if _, res := attempt(t, g, "/a", nil); res.StatusCode != tc.status {
			t.Errorf("%s: %d", reason, res.StatusCode)
		}
		events.waitFor(t, reason)
		_ = first.CloseNow()
		eventually(t, func() bool { // its place is free again
			c, _ := attempt(t, g, "/a", nil)
			return c != nil
		})
	}
}

func TestRefusedHandshakesLeaveNoPlaceTaken(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		c.Admission.MaxConnections = 1
		c.Routes[0].AllowedOrigins = []string{"good.test"}
	})
	for range 5 {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.Addr().String()+"/a", nil)
		req.Header.Set("Origin", "http://evil.test")
		req.Header.Set("Upgrade", "websocket")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Fatal(res.StatusCode)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	dial(t, g, "/a")
}

// A request that never ends, and one that is too large, cost the gateway little
// and others nothing.
func TestSlowAndLargeHandshakes(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		c.Admission.HandshakeTimeout = 200 * time.Millisecond
		c.Admission.MaxHeaderBytes = 2048
	})
	bystander := dial(t, g, "/a")
	const request = "GET /a HTTP/1.1\r\nHost: x\r\n"
	slow, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	go func() {
		for _, b := range []byte(request + "X-Slow: " + strings.Repeat("x", 1000)) {
			if _, err := slow.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	_ = slow.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, slow); isTimeout(err) {
		t.Error("a slow request was waited for")
	}

	large, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	_, _ = io.WriteString(large, request+"X-Large: "+strings.Repeat("x", 16<<10)+"\r\n\r\n")
	if res, err := http.ReadResponse(bufio.NewReader(large), nil); err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(res, err)
	}
	if err := bystander.Ping(bystander.CloseRead(t.Context())); err != nil {
		t.Error(err)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestSourceIP(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, tc := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:5", "", "192.0.2.1"},
		{"192.0.2.1:5", "203.0.113.7", "192.0.2.1"}, // no proxy of ours
		{"10.0.0.1:5", "203.0.113.7", "203.0.113.7"},
		{"10.0.0.1:5", "1.1.1.1, 203.0.113.7, 10.2.2.2", "203.0.113.7"},
		{"10.0.0.1:5", "1.1.1.1, forged", "10.0.0.1"},
		{"10.0.0.1:5", "1.1.1.1, unknown", "10.0.0.1"},
		{"10.0.0.1:5", "1.1.1.1, unknown, 10.2.2.2", "10.2.2.2"},
		{"10.0.0.1:5", "203.0.113.3:50123", "203.0.113.3"},
		{"10.0.0.1:5", "203.0.113.3:50123, 10.2.2.2:80", "203.0.113.3"},
		{"10.0.0.1:5", "[2001:db8::1]:443", "2001:db8::1"},
		{"10.0.0.1:5", "[2001:DB8::1]", "2001:db8::1"},
		{"10.0.0.1:5", "2001:db8:0::1", "2001:db8::1"},
		{"10.0.0.1:5", "::ffff:203.0.113.3", "203.0.113.3"},
		{"10.0.0.1:5", "[::ffff:203.0.113.3]:80", "203.0.113.3"},
		{"10.0.0.1:5", "203.0.113.3:", "10.0.0.1"},
		{"10.0.0.1:5", "1.1.1.1,", "10.0.0.1"},
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"[::ffff:192.0.2.1]:5", "", "192.0.2.1"},
		{"[fe80::1%eth0]:5", "", "fe80::1"},
		{"@", "", "invalid IP"},
	} {
		req := &http.Request{RemoteAddr: tc.remote, Header: http.Header{}}
		if tc.forwarded != "" {
			req.Header.Set("X-Forwarded-For", tc.forwarded)
		}
		if got := sourceIP(req, trusted).String(); got != tc.want {
			t.Errorf("%+v: %s", tc, got)
		}
	}
}

// TestNetworksOfIPv6 count as one client: whoever has an address there has 2^64.
func TestNetworksOfIPv6(t *testing.T) {
	g, events := start(t, func(c *Config) {
		c.Admission.MaxConnectionsPerIP = 2
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	for i, tc := range []struct {
		from   string
		status int
	}{
		{"2001:db8:0:1::1", 101},
		{"[2001:db8:0:1:a:b:c:d]:5", 101},
		{"2001:db8:0:1::2", 429},
		{"2001:db8:0:2::1", 101},
		{"203.0.113.1", 101},
		{"203.0.113.1", 101},
		{"203.0.113.2", 101},
		{"::ffff:203.0.113.1", 429},
	} {
		_, res := attempt(t, g, "/a", &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {tc.from}}})
		if res.StatusCode != tc.status {
			t.Errorf("%d, %s: status %d", i, tc.from, res.StatusCode)
		}
	}
	events.waitFor(t, "main/a 429 max_connections_per_ip")
}
