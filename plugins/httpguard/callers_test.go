package httpguard_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/prometheus"

	"github.com/iotcast/iotcast/plugins"
)

func TestStrangers(t *testing.T) {
	a := start(t, "")
	_, port, _ := net.SplitHostPort(a.address)
	for name, test := range map[string]struct {
		edit func(*http.Request)
		want int
	}{
		"a program":                           {nil, http.StatusOK},
		"localhost":                           {host("localhost:" + port), http.StatusOK},
		"IPv6":                                {host("[::1]:" + port), http.StatusOK},
		"own page":                            {header("Origin", "http://"+a.address), http.StatusOK},
		"typed by the user":                   {header("Sec-Fetch-Site", "none"), http.StatusOK},
		"foreign page":                        {header("Origin", "https://example.com"), http.StatusForbidden},
		"page of another port":                {header("Origin", "http://127.0.0.1:1"), http.StatusForbidden},
		"file":                                {header("Origin", "null"), http.StatusForbidden},
		"foreign site":                        {header("Sec-Fetch-Site", "cross-site"), http.StatusForbidden},
		"foreign host":                        {host("example.com"), http.StatusMisdirectedRequest},
		"foreign host, port":                  {host("example.com:" + port), http.StatusMisdirectedRequest},
		"foreign host with the address in it": {host("127.0.0.1.example.com"), http.StatusMisdirectedRequest},
		"rebound page": {func(r *http.Request) {
			r.Host = "example.com:" + port
			r.Header.Set("Origin", "http://example.com:"+port)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}, http.StatusMisdirectedRequest},
	} {
		for _, call := range []string{"GET /streams", "POST /streams/one", "GET /ping", "GET /benthos/streams", "OPTIONS /streams"} {
			method, path, _ := strings.Cut(call, " ")
			status, answer := a.call(method, path, harmless, test.edit)
			if got := status < 400 || status == http.StatusBadRequest; got != (test.want == 200) || !got && status != test.want {
				t.Errorf("%s: %s: %d %s", name, call, status, answer)
			}
		}
		if got := len(a.streams()) > 0; got != (test.want == 200) {
			t.Errorf("%s: streams %v", name, a.streams())
		}
		_, _ = a.call("DELETE", "/streams/one", "", nil)
	}
}

func TestLogin(t *testing.T) {
	a := start(t, `http_guard: { username: me, password: "pass word" }`)
	for name, edit := range map[string]func(*http.Request){
		"nobody":         nil,
		"wrong password": func(r *http.Request) { r.SetBasicAuth("me", "pass") },
		"wrong name":     func(r *http.Request) { r.SetBasicAuth("you", "pass word") },
		"nothing":        func(r *http.Request) { r.SetBasicAuth("", "") },
		"twice": func(r *http.Request) {
			r.SetBasicAuth("me", "pass word")
			r.Header.Add("Authorization", r.Header.Get("Authorization"))
		},
	} {
		for _, path := range []string{
			"/streams", "/streams/one", "/benthos/streams", "/endpoints", "/resources/cache/x", "/ping/../streams",
		} {
			if status, _ := a.call("GET", path, "", edit); status != http.StatusUnauthorized {
				t.Errorf("%s: GET %s: %d", name, path, status)
			}
		}
		for _, path := range []string{"/ping", "/ready", "/metrics", "/benthos/ping"} {
			if status, _ := a.call("GET", path, "", edit); status != http.StatusOK {
				t.Errorf("%s: GET %s: %d", name, path, status)
			}
		}
	}
	login := func(r *http.Request) { r.SetBasicAuth("me", "pass word") }
	if status, answer := a.call("POST", "/streams/one", harmless, login); status != http.StatusOK {
		t.Errorf("%d %s", status, answer)
	}
	endpoint := `
input: { http_server: { path: /post } }
pipeline: { processors: [ { mapping: 'root = "authorization: " + metadata("Authorization").or("none")' } ] }
output: { sync_response: {} }
`
	if status, answer := a.call("POST", "/streams/endpoint", endpoint, login); status != http.StatusOK {
		t.Errorf("%d %s", status, answer)
	}
	if status, _ := a.call("POST", "/endpoint/post", "x", nil); status != http.StatusUnauthorized {
		t.Errorf("an endpoint of a stream: %d", status)
	}
	if status, answer := a.call("POST", "/endpoint/post", "x", login); status != http.StatusOK || answer != "authorization: none" {
		t.Errorf("an endpoint of a stream, after a login: %d %s", status, answer)
	}
	// A browser adds the password by itself.
	if status, _ := a.call("POST", "/streams/two", harmless, func(r *http.Request) {
		login(r)
		r.Header.Set("Origin", "https://example.com")
	}); status != http.StatusForbidden {
		t.Errorf("a foreign page of somebody logged in: %d", status)
	}
}

// TestTrustedOrigins: http.cors names pages that may call.
func TestTrustedOrigins(t *testing.T) {
	a := startWith(t, "cors: { enabled: true, allowed_origins: [ 'https://example.com', '*' ] }", "")
	for origin, want := range map[string]int{"https://example.com": http.StatusOK, "https://example.org": http.StatusForbidden} {
		if status, answer := a.call("GET", "/streams", "", header("Origin", origin)); status != want {
			t.Errorf("%s: %d %s", origin, status, answer)
		}
	}
}

// TestBasicAuth: the password of Benthos itself is asked for behind the guard.
func TestBasicAuth(t *testing.T) {
	hash := sha256.Sum256([]byte("pass"))
	a := startWith(t, "basic_auth: { enabled: true, username: me, password_hash: "+base64.StdEncoding.EncodeToString(hash[:])+" }", "")
	config := harmless + "pipeline: { processors: [ { metric: { type: counter, name: mine } } ] }"
	for _, call := range []string{"POST /streams/one", "PUT /streams/one", "GET /streams/one", "DELETE /streams/one"} {
		method, path, _ := strings.Cut(call, " ")
		if status, answer := a.call(method, path, config, nil); status < 400 {
			t.Errorf("%s without a password: %d %s", call, status, answer)
		}
		if status, answer := a.call(method, path, config, func(r *http.Request) { r.SetBasicAuth("me", "pass") }); status != http.StatusOK {
			t.Errorf("%s: %d %s", call, status, answer)
		}
	}
}

// TestRefusesToStart: what other machines reach needs a password.
func TestRefusesToStart(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, port, _ := net.SplitHostPort(freeAddress(t))
	for name, test := range map[string]struct {
		root   string
		args   []string
		starts bool
	}{
		"all interfaces": {root: "http: { address: '0.0.0.0:" + port + "' }"},
		"no host":        {root: "http: { address: ':" + port + "' }"},
		"password":       {root: "http: { address: '0.0.0.0:" + port + "' }\nhttp_guard: { username: a, password: b }", starts: true},
		"name alone":     {root: "http: { address: '127.0.0.1:" + port + "' }\nhttp_guard: { username: a }"},
		"basic_auth":     {root: "http: { address: '0.0.0.0:" + port + "', basic_auth: { enabled: true, username: a, password_hash: eA== } }", starts: true},
		"two passwords":  {root: "http: { address: 'localhost:" + port + "', basic_auth: { enabled: true, username: a, password_hash: eA== } }\nhttp_guard: { username: a, password: b }"},
		"loopback":       {root: "http: { address: 'localhost:" + port + "' }", starts: true},
		"no API":         {root: "http: { address: '0.0.0.0:" + port + "' }", args: []string{"--no-api"}, starts: true},
		"HTTP is off":    {root: "http: { address: '0.0.0.0:" + port + "', enabled: false }", starts: true},
	} {
		path := write(t, "root.yaml", quiet+test.root)
		ctx, cancel := context.WithCancel(ctx)
		started := false
		code := plugins.Run(ctx, service.CLIOptSetArgs(append([]string{"mine", "streams", "-o", path}, test.args...)...),
			service.CLIOptOnStreamStart(func(*service.RunningStreamSummary) error {
				started = true
				conn, err := net.Dial("tcp", "127.0.0.1:"+port)
				if err == nil {
					_ = conn.Close()
				}
				silent := strings.Contains(name, "no API") || strings.Contains(name, "HTTP is off")
				if listens := err == nil; listens != (test.starts && !silent) {
					t.Errorf("%s: listens: %v", name, listens)
				}
				cancel()
				return nil
			}))
		cancel()
		if started != test.starts || (code == 0) != test.starts {
			t.Errorf("%s: started %v, code %d", name, started, code)
		}
	}
}

// TestBusyAddress: a single stream does without the API, streams mode does not.
func TestBusyAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for mode, starts := range map[string]bool{"run": true, "streams": false} {
		path := write(t, "config.yaml", fmt.Sprintf("%shttp: { address: %q }\n", quiet, l.Addr()))
		args := []string{"mine", mode, "-o", path}
		if mode == "run" {
			args = []string{"mine", mode, write(t, "config.yaml", fmt.Sprintf("%shttp: { address: %q }\n%s", quiet, l.Addr(), harmless))}
		}
		ctx, cancel := context.WithCancel(t.Context())
		started := false
		plugins.Run(ctx, service.CLIOptSetArgs(args...), service.CLIOptOnStreamStart(func(*service.RunningStreamSummary) error {
			started = true
			cancel()
			return nil
		}))
		cancel()
		if started != starts {
			t.Errorf("%s: started %v", mode, started)
		}
	}
}

// With tokens of the management API, whoever changes streams says who they are, and has the role.
func TestTokens(t *testing.T) {
	const secret = "a secret of more than 32 bytes, for tests"
	a := start(t, `
management_api:
  address: 127.0.0.1:0
  tokens: { secret: "`+secret+`" }
  access_bindings:
    - { service_account_id: admin, roles: [ admin ] }
    - { service_account_id: editor, roles: [ editor ] }
    - { service_account_id: elsewhere, roles: [ admin ], resources: [ home ] }`)
	as := func(account string) func(*http.Request) {
		text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": account}).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return header("Authorization", "Bearer "+text)
	}
	for name, test := range map[string]struct {
		edit              func(*http.Request)
		read, write, open int
	}{
		"nobody":              {nil, 401, 401, 200},
		"a password":          {func(r *http.Request) { r.SetBasicAuth("", "") }, 401, 401, 200},
		"no token":            {header("Authorization", "Bearer x"), 401, 401, 200},
		"admin":               {as("admin"), 200, 200, 200},
		"editor":              {as("editor"), 200, 403, 200},
		"without a role":      {as("somebody"), 403, 403, 200},
		"admin of a registry": {as("elsewhere"), 403, 403, 200},
	} {
		for call, want := range map[string]int{"GET /streams": test.read, "POST /streams/one": test.write, "GET /ping": test.open} {
			method, path, _ := strings.Cut(call, " ")
			if status, answer := a.call(method, path, harmless, test.edit); status != want {
				t.Errorf("%s: %s: %d %s, want %d", name, call, status, answer, want)
			}
		}
		_, _ = a.call("DELETE", "/streams/one", "", as("admin"))
	}
}
