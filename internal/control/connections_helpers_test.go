package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/golang-jwt/jwt/v5"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/control"
	"github.com/iotcast/iotcast/internal/token"
)

const (
	secret   = "a secret of thirty-two bytes....."
	basePath = "/apigateways/websocket/v1"
)

// directory stands in for gateways.
type directory struct {
	bindings map[string]access.Bindings
	err      error // of everything

	mu          sync.Mutex
	connections []*connection
	broadcasts  []string
}

type connection struct {
	connections.Info
	sent   []string
	closed bool
	err    error // of Send
}

func (d *directory) Bindings() map[string]access.Bindings { return d.bindings }

func (d *directory) Connection(_ context.Context, id string) (connections.Connection, error) {
	for _, c := range d.connections {
		if c.ID == id {
			return handle{d, c}, d.err
		}
	}
	return nil, connections.ErrNotFound
}

func (d *directory) List(_ context.Context, q connections.Query) (found []connections.Info, _ connections.Unreachable, err error) {
	for _, c := range d.connections {
		if slices.Contains(q.Gateways, c.Gateway) && c.ID > q.After && len(found) < q.Limit &&
			(q.Path == "" || q.Path == c.Path) && (q.SourceIP == "" || q.SourceIP == c.SourceIP) {
			found = append(found, c.Info)
		}
	}
	return found, nil, d.err
}

func (d *directory) Silent() connections.Unreachable { return nil }

func (d *directory) Broadcast(_ context.Context, gateway, path string, m connections.Message) (int, connections.Unreachable, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, c := range d.connections {
		if c.Gateway == gateway && c.Path == path {
			n++
		}
	}
	if n == 0 {
		return 0, nil, fmt.Errorf("path %q: %w", path, connections.ErrNotFound)
	}
	d.broadcasts = append(d.broadcasts, gateway+path+" "+text(m))
	return n, nil, d.err
}

func text(m connections.Message) string { return fmt.Sprintf("%v %s", m.Text, m.Data) }

type handle struct {
	d *directory
	c *connection
}

func (h handle) Info() connections.Info { return h.c.Info }

func (h handle) Send(_ context.Context, m connections.Message) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	h.c.sent = append(h.c.sent, text(m))
	return h.c.err
}

func (h handle) Disconnect(context.Context) error {
	h.c.closed = true
	return nil
}

// directoryOf has three connections on gateway main and one on gateway other.
func directoryOf(bindings access.Bindings) *directory {
	d := &directory{bindings: map[string]access.Bindings{"main": bindings, "other": {"else": access.Admin}, "empty": bindings}}
	at := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	for i, c := range []struct{ gateway, path, ip string }{
		{"main", "/a", "192.0.2.1"}, {"main", "/b", "192.0.2.2"}, {"other", "/a", "192.0.2.1"}, {"main", "/a", "2001:db8::1"},
	} {
		d.connections = append(d.connections, &connection{Info: connections.Info{
			ID: fmt.Sprint("id-", i), Gateway: c.gateway, Path: c.path, SourceIP: c.ip, UserAgent: "agent",
			ConnectedAt: at, LastActiveAt: at.Add(time.Second),
		}})
	}
	return d
}

// client makes requests, and holds every answer against the OpenAPI document.
type client struct {
	t       testing.TB
	url     string
	token   string
	doc     *openapi3.T
	openapi routers.Router // of doc
	counted map[string]int // observed requests
	log     *lines
	mu      *sync.Mutex
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// start starts the API; withTokens makes it want tokens.
func start(t testing.TB, d connections.Directory, withTokens bool) *client {
	t.Helper()
	cfg := control.Config{Address: "127.0.0.1:0", MaxMessageBytes: 128 << 10}
	if withTokens {
		v, err := token.New(token.Config{Secret: []byte(secret)})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Verifier = v
	}
	return startWith(t, cfg, d)
}

func startWith(t testing.TB, cfg control.Config, d connections.Directory) *client {
	t.Helper()
	c := &client{t: t, counted: map[string]int{}, log: new(lines), mu: new(sync.Mutex)}
	cfg.Connections = d
	s, err := control.StartConnections(cfg, func(method string, status int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.counted[fmt.Sprint(method, " ", status)]++
	}, c.log.logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Close(ctx)
	})
	c.url = "http://" + s.Addr().String()
	c.read(t)
	return c
}

// read reads the document from the server, as its users do.
func (c *client) read(t testing.TB) {
	t.Helper()
	res, err := httpClient.Get(c.url + "/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res.Status, err)
	}
	if c.doc, err = openapi3.NewLoader().LoadFromData(content); err != nil {
		t.Fatal(err)
	}
	if err := c.doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.openapi, err = gorillamux.NewRouter(c.doc); err != nil {
		t.Fatal(err)
	}
}

var httpClient = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       10 * time.Second,
}

// as is the client with a token of a service account.
func (c *client) as(account string) *client {
	with := *c
	with.token = signed(account, nil)
	return &with
}

func signed(account string, more map[string]any) string {
	claims := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix()}
	if account != "" {
		claims["sub"] = account
	}
	for name, value := range more {
		claims[name] = value
	}
	raw, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		panic(err)
	}
	return raw
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

// do makes a request for a path beneath the base, with a body unless that is nil:
// a string as it is, else as JSON.
func (c *client) do(method, path string, body any, change ...func(*http.Request)) answer {
	c.t.Helper()
	var content []byte
	switch body := body.(type) {
	case nil:
	case string:
		content = []byte(body)
	default:
		content, _ = json.Marshal(body)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, c.url+basePath+path, bytes.NewReader(content))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for _, f := range change {
		f(req)
	}
	res, err := httpClient.Do(req)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	c.check(req, content, res, raw)
	a := answer{status: res.StatusCode, header: res.Header, raw: string(raw)}
	if compact := new(bytes.Buffer); json.Compact(compact, raw) == nil { // the library puts spaces where it likes
		a.raw = compact.String()
	}
	if err := json.Unmarshal(raw, &a.body); err != nil {
		c.t.Errorf("%s %s: %v: %s", method, path, err, raw)
	}
	return a
}

// check holds the answer against the document, and the request, too, if it
// succeeded.
func (c *client) check(req *http.Request, content []byte, res *http.Response, raw []byte) {
	c.t.Helper()
	asDocumented := *req.URL // the router does not take the other spelling of a colon
	asDocumented.RawPath = strings.ReplaceAll(asDocumented.RawPath, "%3A", ":")
	req.URL = &asDocumented
	route, params, err := c.openapi.FindRoute(req)
	if err != nil {
		if res.StatusCode < 400 {
			c.t.Errorf("%s %s: answered with %d, and not in the document: %v", req.Method, req.URL, res.StatusCode, err)
		}
		return
	}
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	req.Body = io.NopCloser(bytes.NewReader(content))
	if len(content) > 0 {
		req.Header.Set("Content-Type", "application/json") // for which any type is taken
	}
	err = openapi3filter.ValidateRequest(context.Background(), in)
	if ok := res.StatusCode < 400; ok && err != nil {
		c.t.Errorf("%s %s: accepted, but not by the document: %v", req.Method, req.URL, err)
	}
	err = openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header,
		Body: io.NopCloser(bytes.NewReader(raw)), Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		c.t.Errorf("%s %s: the answer %d %s is not as in the document: %v", req.Method, req.URL, res.StatusCode, raw, err)
	}
}

// fails expects an error with the HTTP status and the code of gRPC, and with a
// part of the message. What is wrong with fields may stand in its details, too.
func (a answer) fails(t testing.TB, status, code int, part string) {
	t.Helper()
	details, isList := a.body["details"].([]any)
	message, _ := a.body["message"].(string)
	if a.status != status || a.body["code"] != float64(code) || !isList || len(details) != 0 && !aboutFields(details) || len(a.body) != 3 || !strings.Contains(message, part) {
		t.Errorf("%d %s, want %d, code %d, %q", a.status, a.raw, status, code, part)
	}
	if (a.header.Get("WWW-Authenticate") == "Bearer") != (status == http.StatusUnauthorized) {
		t.Errorf("%d with WWW-Authenticate %q", a.status, a.header.Get("WWW-Authenticate"))
	}
}

func aboutFields(details []any) bool {
	one, _ := details[0].(map[string]any)
	return len(details) == 1 && one["@type"] == "type.googleapis.com/google.rpc.BadRequest"
}

// succeeds expects the body.
func (a answer) succeeds(t testing.TB, body string) {
	t.Helper()
	if a.status != http.StatusOK || a.raw != body || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s, want %s", a.status, a.raw, body)
	}
}
