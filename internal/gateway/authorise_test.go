package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/token"
)

const secret = "a secret of thirty-two bytes....."

func verifier(t testing.TB) *token.Verifier {
	t.Helper()
	v, err := token.New(token.Config{Secret: []byte(secret)})
	if err == nil {
		err = v.Start(slog.New(slog.DiscardHandler))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func sign(t *testing.T, claims jwt.MapClaims) string {
	t.Helper()
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// attempt opens a connection, or returns the status with which it was refused.
func attempt(t *testing.T, g *Gateway, path string, o *websocket.DialOptions) (*websocket.Conn, *http.Response) {
	t.Helper()
	c, res, err := websocket.Dial(t.Context(), "ws://"+g.Addr().String()+path, o)
	if err == nil {
		t.Cleanup(func() { _ = c.CloseNow() })
	} else if res == nil {
		t.Fatal(err)
	}
	return c, res
}

func bearer(raw string) *websocket.DialOptions {
	return &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + raw}}}
}

func TestTokens(t *testing.T) {
	tokens := &Tokens{Verifier: verifier(t), QueryParameter: "access_token", SubprotocolPrefix: "bearer.", RoutesClaim: "routes"}
	g, events := start(t, func(c *Config) { c.Routes[0].Tokens = tokens })
	hour := time.Now().Add(time.Hour).Unix()
	good := sign(t, jwt.MapClaims{"sub": "page", "exp": hour, "routes": []string{"/a"}})
	for name, tc := range map[string]struct {
		path    string
		options *websocket.DialOptions
		status  int
		reason  string
	}{
		"none":             {"/a", nil, 401, "token_missing"},
		"header":           {"/a", bearer(good), 101, ""},
		"query":            {"/a?access_token=" + good, nil, 101, ""},
		"subprotocol":      {"/a", &websocket.DialOptions{Subprotocols: []string{"bearer." + good}}, 101, ""},
		"another path":     {"/a", bearer(sign(t, jwt.MapClaims{"exp": hour, "routes": []string{"/b/c"}})), 403, "token_route"},
		"no path":          {"/a", bearer(sign(t, jwt.MapClaims{"exp": hour})), 403, "token_route"},
		"expired":          {"/a", bearer(sign(t, jwt.MapClaims{"exp": hour - 7200, "routes": "/a"})), 401, "token_expired"},
		"forged":           {"/a", bearer(good[:len(good)-4] + "AAAA"), 401, "token_signature"},
		"no token at all":  {"/a", bearer("x"), 401, "token_malformed"},
		"route without":    {"/b/c", nil, 101, ""},
		"token not needed": {"/b/c?access_token=x", nil, 101, ""},
	} {
		_, res := attempt(t, g, tc.path, tc.options)
		if res.StatusCode != tc.status {
			t.Errorf("%s: status %d, want %d", name, res.StatusCode, tc.status)
		}
		if challenge := res.Header.Get("WWW-Authenticate"); (challenge != "") != (tc.status == 401) {
			t.Errorf("%s: challenge %q", name, challenge)
		}
		if tc.reason != "" {
			events.waitFor(t, fmt.Sprint("main/a ", tc.status, " ", tc.reason))
		}
	}
}

func TestTokenInASubprotocolIsNotSelectedBesideAnother(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		c.Routes[0].Tokens = &Tokens{Verifier: verifier(t), SubprotocolPrefix: "bearer.", Optional: true}
	})
	good := "bearer." + sign(t, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()})
	for _, tc := range []struct {
		offers []string
		want   string
	}{
		{[]string{good, "v1"}, "v1"},
		{[]string{"v1", good}, "v1"},
		{[]string{good}, good},
		{nil, ""},
	} {
		c, _ := attempt(t, g, "/a", &websocket.DialOptions{Subprotocols: tc.offers})
		if got := c.Subprotocol(); got != tc.want {
			t.Errorf("%q: %q", tc.offers, got)
		}
	}
}

func TestConnectionEndsWithItsToken(t *testing.T) {
	g, events := start(t, func(c *Config) {
		c.Routes[0].Tokens = &Tokens{Verifier: verifier(t)}
		c.Routes[0].Limits.PingInterval = 4 * time.Second // so that the hub looks every second
	})
	c, _ := attempt(t, g, "/a", bearer(sign(t, jwt.MapClaims{"exp": time.Now().Add(2 * time.Second).Unix()})))
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != 4401 {
		t.Fatal(err)
	}
	events.waitFor(t, "main/a token_expired")
}

// TestTokenWithinLeeway: a connection lives as long as its token would be accepted. With a
// token that ends in a far future it does not end.
func TestTokenWithinLeeway(t *testing.T) {
	v, err := token.New(token.Config{Secret: []byte(secret), Leeway: 12 * time.Second})
	if err == nil {
		err = v.Start(slog.New(slog.DiscardHandler))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	g, _ := start(t, func(c *Config) {
		c.Routes[0].Tokens = &Tokens{Verifier: v}
		c.Routes[0].Limits.PingInterval = 4 * time.Second // so that the hub looks every second
	})
	forever, _ := attempt(t, g, "/a", bearer(sign(t, jwt.MapClaims{"exp": 9999999999})))
	messages := make(chan string, 1)
	go func() { // and answers pings
		_, p, err := forever.Read(t.Context())
		messages <- fmt.Sprint(string(p), err)
	}()
	expired := time.Now().Add(-10 * time.Second).Unix()
	c, _ := attempt(t, g, "/a", bearer(sign(t, jwt.MapClaims{"exp": expired})))
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != 4401 {
		t.Error(err)
	}
	if early := time.Until(time.Unix(expired, 0).Add(12 * time.Second)); early > 0 {
		t.Errorf("closed %v before its end", early)
	}
	_, _ = g.Routes()["/a"].Broadcast(fanout.Message{Opcode: fanout.Text, Payload: []byte("still here")})
	if got := <-messages; got != "still here<nil>" {
		t.Error(got)
	}
}

func TestOnConnect(t *testing.T) {
	answers := make(chan Answer, 1)
	var failure error
	var seen *Request
	g, events := start(t, func(c *Config) {
		c.Routes[0].Handlers.Connect = func(_ context.Context, r *Request) (Answer, error) {
			seen = r
			return <-answers, failure
		}
	})
	for _, tc := range []struct {
		answer Answer
		err    error
		status int
	}{
		{Answer{}, nil, 101},
		{Answer{Subprotocol: "v2"}, nil, 101},
		{Answer{Status: 401}, nil, 401},
		{Answer{Status: 403}, nil, 403},
		{Answer{}, errors.New("database is away"), 500},
	} {
		answers <- tc.answer
		failure = tc.err
		c, res := attempt(t, g, "/a?room=1", &websocket.DialOptions{Subprotocols: []string{"v1", "v2"}})
		if res.StatusCode != tc.status {
			t.Errorf("%+v: status %d", tc, res.StatusCode)
		}
		if c != nil && c.Subprotocol() != tc.answer.Subprotocol {
			t.Errorf("%+v: subprotocol %q", tc, c.Subprotocol())
		}
		if seen.Query.Get("room") != "1" || seen.SourceIP != "127.0.0.1" || len(seen.Subprotocols) != 2 {
			t.Errorf("%+v", seen)
		}
	}
	events.waitFor(t, "main/a failed on_connect")
}

// TestWhatIsNoHandshakeIsAskedForToo: a request that is no handshake is decided on as one
// is. So its answer tells a page what is wrong, and nobody need know beforehand how a
// handshake may be written.
func TestWhatIsNoHandshakeIsAskedForToo(t *testing.T) {
	var status atomic.Int64
	g, events := start(t, func(c *Config) {
		c.Admission.MaxConnections = 1
		c.Routes[0].Tokens = &Tokens{Verifier: verifier(t), QueryParameter: "t"}
		c.Routes[0].Handlers.Connect = func(context.Context, *Request) (Answer, error) {
			return Answer{Status: int(status.Load())}, nil
		}
	})
	get := func(query string, want int, event string) {
		t.Helper()
		res, err := http.Get("http://" + g.Addr().String() + "/a" + query)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%q: status %d, want %d", query, res.StatusCode, want)
		}
		events.waitFor(t, event)
	}
	good := "?t=" + sign(t, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()})
	get("", 401, "main/a 401 token_missing")
	status.Store(403)
	get(good, 403, "main/a 403 on_connect")
	status.Store(0)
	get(good, 426, "main/a 426 handshake") // and none of them keeps the one place
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if _, res := attempt(t, g, "/a"+good, nil); res.StatusCode != 101 {
		t.Error(res.Status)
	}
}

// TestPlainRequests: who opens the URL of a path in a browser reads what it is for, and where something can be seen.
func TestPlainRequests(t *testing.T) {
	g, _ := start(t, func(c *Config) { c.Viewer, c.Routes[1].Events = "/view", true })
	text := func(path, key string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			req.Header.Set("Sec-WebSocket-Key", key)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		all, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusUpgradeRequired || res.Header.Get("Upgrade") != "websocket" {
			t.Errorf("%s: %s, %v, %v", path, res.Status, res.Header, err)
		}
		return string(all)
	}
	for path, want := range map[string]string{"/a": "is for WebSocket clients", "/b/c": "server-sent events (Accept: text/event-stream)"} {
		if got := text(path, ""); !strings.Contains(got, want) || !strings.Contains(got, "The viewer of this gateway shows what comes here, at /view") {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := text("/a", "dGhlIHNhbXBsZSBub25jZQ=="); !strings.Contains(got, "does not contain Upgrade") {
		t.Errorf("a handshake without Upgrade, as a proxy may leave it: %s", got)
	}
}
