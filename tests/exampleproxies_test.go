package tests

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// visitor is a client of a proxy, at an address of its own.
type visitor struct {
	t     *testing.T
	proxy string // host:port of the proxy
	tls   *tls.Config
	from  net.IP
}

func (v visitor) client(http2 bool) *http.Client {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: v.from}}
	transport := &http.Transport{TLSClientConfig: v.tls.Clone(), ForceAttemptHTTP2: http2, DialContext: dialer.DialContext}
	v.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// status is that of the answer to a GET.
func (v visitor) status(path string) int {
	v.t.Helper()
	res, err := v.client(false).Get("https://" + v.proxy + path)
	if err != nil {
		v.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// dial opens a WebSocket as a page of an origin does, which pretends to be at another address.
func (v visitor) dial(origin string) (*websocket.Conn, int, error) {
	ws, res, err := websocket.Dial(v.t.Context(), "wss://"+v.proxy+"/live/telemetry", &websocket.DialOptions{
		HTTPClient: v.client(false), HTTPHeader: http.Header{"Origin": {origin}, "X-Forwarded-For": {"203.0.113.9"}},
	})
	if res == nil {
		return nil, 0, err
	}
	return ws, res.StatusCode, err
}

// events follows the stream of events on the path, until ctx ends.
func (v visitor) events(ctx context.Context) *audience {
	v.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+v.proxy+"/live/telemetry", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := v.client(true).Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
		v.t.Errorf("events: %s with %s", res.Status, res.Proto)
	}
	a := &audience{t: v.t, last: map[string]string{}}
	go func() {
		defer res.Body.Close()
		for in := bufio.NewScanner(res.Body); in.Scan(); {
			if envelope, ok := strings.CutPrefix(in.Text(), "data: "); ok {
				a.take([]byte(envelope))
			}
		}
	}()
	return a
}

// Through each proxy messages come at once, by WebSockets and by server-sent events over HTTP/2, pages of its host may connect, and
// the gateway sees the address of the client.
func TestExampleProxies(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	e := openExample(t, "proxies", map[string]string{"1883": portOf(b.addr), "8443": ""})
	e.env = append(e.env, "HOME="+e.dir) // where Caddy keeps things
	e.run(e.sh("openssl req"))
	cast := e.cast("iotcast run")
	certificate, err := os.ReadFile(filepath.Join(e.dir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)

	for i, command := range []string{"nginx -p", "caddy run", "haproxy -f"} {
		proxy := e.serve(command, "8443")
		v := visitor{t: t, proxy: "localhost:" + e.ports["8443"], tls: &tls.Config{RootCAs: roots}, from: net.IPv4(127, 0, 0, byte(2+i))}
		for path, want := range map[string]int{
			"/live/": 200, "/live/iotcast.js": 200, "/live/telemetry": 426, "/live/elsewhere": 404, "/": 404, "/metrics": 404,
		} {
			if got := v.status(path); got != want {
				t.Errorf("%s: %s is answered with %d, want %d", command, path, got, want)
			}
		}
		if _, status, err := v.dial("https://elsewhere.example.com"); status != http.StatusForbidden {
			t.Errorf("%s: a page of another site gets %d %v", command, status, err)
		}
		if ws, status, err := v.dial("https://dashboard.example.com"); err != nil {
			t.Errorf("%s: a page that is allowed gets %d %v", command, status, err)
		} else {
			_ = ws.CloseNow()
		}
		ws, status, err := v.dial("https://" + v.proxy)
		if err != nil {
			t.Fatalf("%s: a page of the proxy's own host gets %d %v", command, status, err)
		}
		ctx, leave := context.WithCancel(t.Context())
		t.Cleanup(leave)
		audiences := []*audience{listen(t, ws), v.events(ctx)}
		for n := range 3 { // what was held back would come with the next
			payload := fmt.Sprintf(`{"temperature":%d%d}`, i, n)
			b.publish(1, message{topic: "$devices/boiler/events", payload: []byte(payload)})
			for _, a := range audiences {
				a.waitShown(map[string]string{"boiler $devices/boiler/events": payload})
			}
		}
		_ = ws.CloseNow()
		leave() // before the proxy ends, which may wait for it
		cast.waitLog("source_ip=" + v.from.String())
		proxy.signal(syscall.SIGTERM)
		proxy.exitCode(shutdownTimeout)
	}
	if strings.Contains(cast.out.String(), "203.0.113.9") {
		t.Error("the gateway believes what a client says of its address")
	}
}

// No proxy ends a connection on which the gateway still sends pings.
func TestExampleProxyTimeouts(t *testing.T) {
	t.Parallel()
	read := func(file, directive string) (found time.Duration) {
		t.Helper()
		text, err := os.ReadFile("../config/examples/proxies/" + file)
		if err != nil {
			t.Fatal(err)
		}
		stated := regexp.MustCompile(`(?m)^\s*`+directive+`:? (\d+[smh])\b`).FindAllStringSubmatch(string(text), -1)
		if len(stated) != 1 {
			t.Fatalf("%s has %d of %s, want one", file, len(stated), directive)
		}
		if found, err = time.ParseDuration(stated[0][1]); err != nil {
			t.Fatal(err)
		}
		return found
	}
	ping := read("trigger.yaml", "ping_interval")
	for _, timeout := range []struct{ file, directive string }{
		{"nginx-site.conf", "proxy_read_timeout"},
		{"nginx-site.conf", "proxy_send_timeout"},
		{"haproxy.cfg", "timeout client"},
		{"haproxy.cfg", "timeout server"},
		{"haproxy.cfg", "timeout tunnel"},
	} {
		if got := read(timeout.file, timeout.directive); got <= ping {
			t.Errorf("%s: %s of %v is not above ping_interval, %v", timeout.file, timeout.directive, got, ping)
		}
	}
}
