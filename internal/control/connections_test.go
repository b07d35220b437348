package control_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/control"
	"github.com/iotcast/iotcast/internal/token"
)

const (
	shown = `{"id":"id-0","gatewayId":"main","identity":{"sourceIp":"192.0.2.1","userAgent":"agent"},"connectedAt":"2026-01-02T03:04:05.000000678Z","lastActiveAt":"2026-01-02T03:04:06.000000678Z"}`
	hello = "SGVsbG8="
)

// TestOriginal: the calls that the original service has, byte by byte.
func TestOriginal(t *testing.T) {
	d := directoryOf(access.Bindings{"writer": access.Writer})
	c := start(t, d, true).as("writer")
	c.do("GET", "/connections/id-0", nil).succeeds(t, shown)
	c.do("GET", "/connections/id%2D0", nil).succeeds(t, shown)
	c.do("POST", "/connections/id-0:send", map[string]any{"data": hello, "type": "TEXT"}).succeeds(t, `{}`)
	c.do("POST", "/connections/id-0%3Asend", map[string]any{"data": hello, "type": "BINARY"}).succeeds(t, `{}`)
	c.do("POST", "/connections/id-0:send", map[string]any{"data": hello, "type": "DATA_TYPE_UNSPECIFIED"}).succeeds(t, `{}`)
	c.do("POST", "/connections/id-0:send", map[string]any{"data": hello}).succeeds(t, `{}`)
	for _, spelling := range []string{"_-8=", "/+8=", "_-8"} { // as the JSON of protobuf may be
		c.do("POST", "/connections/id-1:send", map[string]any{"data": spelling}).succeeds(t, `{}`)
	}
	c.do("DELETE", "/connections/id-3", nil).succeeds(t, `{}`)

	if got, want := d.connections[0].sent, []string{"true Hello", "false Hello", "false Hello", "false Hello"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got, want := d.connections[1].sent, slices.Repeat([]string{"false \xff\xef"}, 3); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if d.connections[0].closed || !d.connections[3].closed {
		t.Error("the wrong one is closed")
	}
	if c.counted["get 200"] != 2 || c.counted["send 200"] != 7 || c.counted["disconnect 200"] != 1 {
		t.Error(c.counted)
	}
}

// TestBroadcast: to a path of a gateway.
func TestBroadcast(t *testing.T) {
	d := directoryOf(access.Bindings{"b": access.Broadcaster})
	c := start(t, d, true).as("b")
	message := map[string]any{"path": "/a", "data": hello, "type": "TEXT"}
	c.do("POST", "/gateways/main:broadcast", message).succeeds(t, `{"connections":2}`)
	c.do("POST", "/gateways/none:broadcast", message).fails(t, 404, 5, `"none"`)
	c.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/x", "data": hello}).fails(t, 404, 5, "/x")
	c.do("POST", "/gateways/main:broadcast", map[string]any{"data": hello}).fails(t, 400, 3, "path is needed")
	c.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/a"}).fails(t, 400, 3, "data is needed")
	if !slices.Equal(d.broadcasts, []string{"main/a true Hello"}) {
		t.Error(d.broadcasts)
	}
}

// ids are the connections of a list.
func ids(t *testing.T, a answer) string {
	t.Helper()
	var list struct {
		Connections []struct{ ID, Path string }
	}
	if err := json.Unmarshal([]byte(a.raw), &list); err != nil || a.status != http.StatusOK {
		t.Fatal(a.status, a.raw, err)
	}
	var all []string
	for _, c := range list.Connections {
		all = append(all, c.ID+c.Path)
	}
	return strings.Join(all, " ")
}

// TestList: filters and pages, and only what the caller may see.
func TestList(t *testing.T) {
	c := start(t, directoryOf(access.Bindings{"v": access.Viewer}), true).as("v")
	for query, want := range map[string]string{
		"":                               "id-0/a id-1/b id-3/a",
		"?gatewayId=main&path=/a":        "id-0/a id-3/a",
		"?path=%2Fb":                     "id-1/b",
		"?sourceIp=2001:db8::1":          "id-3/a",
		"?sourceIp=192.0.2.9":            "",
		"?gatewayId=empty":               "",
		"?pageToken=id-1":                "id-3/a",
		"?pageSize=1000&pageToken=id-99": "",
	} {
		if got := ids(t, c.do("GET", "/connections"+query, nil)); got != want {
			t.Errorf("%s: %s", query, got)
		}
	}
	var pages []string
	next := ""
	for {
		a := c.do("GET", "/connections?pageSize=2&pageToken="+next, nil)
		pages = append(pages, ids(t, a))
		if next, _ = a.body["nextPageToken"].(string); next == "" {
			break
		}
	}
	if !slices.Equal(pages, []string{"id-0/a id-1/b", "id-3/a"}) {
		t.Errorf("%q", pages)
	}
	c.do("GET", "/connections?gatewayId=other", nil).fails(t, 403, 7, `"other"`)
	c.do("GET", "/connections?gatewayId=none", nil).fails(t, 404, 5, `"none"`)
	for _, query := range []string{"?pageSize=0", "?pageSize=1001", "?pageSize=x", "?pagesize=1", "?path=a&path=b", "?path=%zz", "?a;b"} {
		c.do("GET", "/connections"+query, nil).fails(t, 400, 3, "")
	}
	c.as("stranger").do("GET", "/connections", nil).fails(t, 403, 7, `"stranger"`)
	c.as("else").do("GET", "/connections", nil).lists(t, "id-2/a")
}

func (a answer) lists(t *testing.T, want string) {
	t.Helper()
	if got := ids(t, a); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestRoles: what each role may, and an answer that tells what is missing.
func TestRoles(t *testing.T) {
	bindings := access.Bindings{
		"auditor": access.Auditor, "viewer": access.Viewer, "writer": access.Writer,
		"broadcaster": access.Broadcaster, "editor": access.Editor, "admin": access.Admin,
	}
	c := start(t, directoryOf(bindings), true)
	message := map[string]any{"data": hello}
	for account, role := range bindings {
		as := c.as(account)
		for _, call := range []struct {
			a    answer
			need access.Role
		}{
			{as.do("GET", "/connections/id-0", nil), access.Viewer},
			{as.do("GET", "/connections?gatewayId=main", nil), access.Viewer},
			{as.do("POST", "/connections/id-0:send", message), access.Writer},
			{as.do("DELETE", "/connections/id-1", nil), access.Writer},
			{as.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/a", "data": hello}), access.Broadcaster},
		} {
			if role >= call.need {
				if call.a.status != http.StatusOK {
					t.Errorf("%s: %d %s", account, call.a.status, call.a.raw)
				}
				continue
			}
			call.a.fails(t, 403, 7, fmt.Sprintf("service account %q lacks the role %s on gateway \"main\"", account, call.need))
		}
		as.do("GET", "/connections/id-2", nil).fails(t, 403, 7, `"other"`)
	}
}

// TestWithoutBindings: then a token does not open a gateway.
func TestWithoutBindings(t *testing.T) {
	c := start(t, directoryOf(nil), true).as("a")
	c.do("GET", "/connections/id-0", nil).fails(t, 403, 7, "access_bindings")
	c.do("GET", "/connections", nil).fails(t, 403, 7, "access_bindings")
}

// TestTokens: who has no good one learns nothing, not even what there is.
func TestTokens(t *testing.T) {
	c := start(t, directoryOf(access.Bindings{"a": access.Admin}), true)
	authorization := func(value string) func(*http.Request) {
		return func(req *http.Request) {
			req.Header.Del("Authorization")
			if value != "" {
				req.Header.Set("Authorization", value)
			}
		}
	}
	good := signed("a", nil)
	for value, reason := range map[string]string{
		"":                          "missing",
		"Bearer":                    "missing",
		"Bearer ":                   "missing",
		"Basic YTpi":                "missing",
		good:                        "missing",
		"Bearer x":                  "malformed",
		"Bearer " + good + "x":      "",
		"Bearer " + signed("", nil): "sub",
		"Bearer " + signed("a", map[string]any{"exp": 1}): "expired",
		"Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.":     "algorithm",
	} {
		for _, path := range []string{"/connections/id-0", "/connections/none", "/connections", "/nothing"} {
			c.do("GET", path, nil, authorization(value)).fails(t, 401, 16, reason)
		}
		c.do("POST", "/connections/id-0:send", "{", authorization(value)).fails(t, 401, 16, reason)
	}
	c.do("GET", "/connections/id-0", nil, authorization("bearer  "+good)).succeeds(t, shown)
}

// TestKeysUnavailable: that is not the caller's fault.
func TestKeysUnavailable(t *testing.T) {
	v, err := token.New(token.Config{JWKSURL: "http://127.0.0.1:1/keys", JWKSRefresh: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c := startWith(t, control.Config{Address: "127.0.0.1:0", Verifier: v, MaxMessageBytes: 1}, directoryOf(nil))
	c.token = "eyJhbGciOiJFZERTQSJ9.e30.AA"
	c.do("GET", "/connections", nil).fails(t, 503, 14, "later")
}

// TestBadBodies get 400, and nothing is sent.
func TestBadBodies(t *testing.T) {
	d := directoryOf(access.Bindings{"a": access.Admin})
	c := start(t, d, true).as("a")
	large := base64.StdEncoding.EncodeToString(make([]byte, 128<<10))
	for body, part := range map[string]string{
		``:                              "data is missing",
		`{`:                             "JSON",
		`[]`:                            "JSON",
		`null`:                          "JSON",
		`{}`:                            "data is missing",
		`{"data":null}`:                 "data is missing",
		`{"data":""}`:                   "data is missing",
		`{"data":1}`:                    "JSON",
		`{"data":"!"}`:                  "base64",
		`{"data":"A"}`:                  "base64",
		`{"data":"QQ==","type":"text"}`: "type",
		`{"data":"QQ==","type":7}`:      "type is 7",
		`{"data":"QQ==","tpye":"TEXT"}`: "tpye",
		`{"data":"QQ=="}{}`:             "JSON",
		`{"data":"QQ=="} x`:             "JSON",
		`{"data":"/+8=","type":"TEXT"}`: "UTF-8",
		`{"data":"` + strings.Repeat("A", 1<<20) + `"}`: "more than the 1048576 bytes",
		strings.Repeat(`{"data":`, 20_000):              "JSON",
	} {
		c.do("POST", "/connections/id-0:send", body).fails(t, 400, 3, part)
	}
	c.do("POST", "/connections/id-0:send", map[string]any{"data": base64.StdEncoding.EncodeToString(make([]byte, 128<<10+1))}).fails(t, 400, 3, "131073 bytes")
	if len(d.connections[0].sent) != 0 {
		t.Errorf("%d are sent", len(d.connections[0].sent))
	}
	c.do("POST", "/connections/id-0:send", map[string]any{"data": large}).succeeds(t, `{}`)
}

// TestPaths: tricks lead nowhere, and never to something else than is written.
func TestPaths(t *testing.T) {
	d := directoryOf(access.Bindings{"a": access.Admin})
	c := start(t, d, true).as("a")
	for _, path := range []string{
		"", "/", "//connections", "/connections//id-0", "/connections/id-0/", "/connections/./id-0",
		"/connections/x/../id-0", "/connections/..", "/connections/.", "/connections/%2e%2e", "/connections/..%2fconnections%2fid-0",
		"/connections/id-0%2f", "/connections/%2fid-0", "/connections/id-0%00", "/connections/id-0%20", "/connections/ID-0",
		"/connections/id-0:", "/connections/id-0:send", "/connections/:send", "/connections/id-0:SEND", "/connections/id-0::send",
		"/connections/id-0:get", "/Connections/id-0", "/connections/id-0;a", "/gateways", "/gateways/main", "/gateways/:broadcast",
		"/../v1/connections/id-0", "/connections/" + strings.Repeat("x", 50), "/%63onnections/id-0",
	} {
		a := c.do("GET", path, nil)
		if a.status == http.StatusMethodNotAllowed {
			a.fails(t, 405, 12, "POST")
			continue
		}
		a.fails(t, 404, 5, "")
	}
	for path, part := range map[string]string{
		"/connections/": "connection_id is missing", "/connections/" + strings.Repeat("x", 10_000): "connection_id has 10000 characters", "/connections/%ff": "UTF-8",
	} {
		c.do("GET", path, nil).fails(t, 400, 3, part)
	}
	for path, allow := range map[string]string{
		"/connections": "GET", "/connections/id-0": "DELETE, GET", "/connections/id-0:send": "POST", "/gateways/main:broadcast": "POST",
	} {
		for _, method := range []string{"PUT", "PATCH", "OPTIONS", "TRACE"} {
			a := c.do(method, path, nil)
			a.fails(t, 405, 12, allow)
			if a.header.Get("Allow") != allow {
				t.Errorf("%s: Allow %q", path, a.header.Get("Allow"))
			}
		}
	}
	if slices.ContainsFunc(d.connections, func(c *connection) bool { return c.closed || len(c.sent) > 0 }) {
		t.Error("a trick did something")
	}
}

// TestDirectoryErrors: the connection that ends meanwhile, and what must not happen.
func TestDirectoryErrors(t *testing.T) {
	d := directoryOf(access.Bindings{"a": access.Admin})
	d.connections[0].err = fmt.Errorf("%w: it has ended", connections.ErrNotFound)
	d.connections[1].err = connections.ErrTooLarge
	d.connections[3].err = errors.New("a secret of the server")
	c := start(t, d, true).as("a")
	c.do("POST", "/connections/id-0:send", map[string]any{"data": hello}).fails(t, 404, 5, "ended")
	c.do("POST", "/connections/id-1:send", map[string]any{"data": hello}).fails(t, 400, 3, "too large")
	a := c.do("POST", "/connections/id-3:send", map[string]any{"data": hello})
	a.fails(t, 500, 13, "log")
	if strings.Contains(a.raw, "secret") {
		t.Error(a.raw)
	}
}

// TestWithoutTokens: this machine may do all, but on gateways that have bindings,
// and not for the web pages that are open on it.
func TestWithoutTokens(t *testing.T) {
	c := start(t, directoryOf(nil), false)
	c.do("GET", "/connections/id-0", nil).succeeds(t, shown)
	c.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/a", "data": hello}).succeeds(t, `{"connections":2}`)
	c.do("GET", "/connections/id-2", nil).fails(t, 403, 7, "set tokens")
	c.do("GET", "/connections", nil).lists(t, "id-0/a id-1/b id-3/a")

	for status, changes := range map[int][]func(*http.Request){
		http.StatusForbidden: {
			func(req *http.Request) { req.Header.Set("Origin", "https://evil.example.com") },
			func(req *http.Request) { req.Header.Set("Sec-Fetch-Site", "cross-site") },
		},
		http.StatusMisdirectedRequest: {
			func(req *http.Request) { req.Host = "evil.example.com:8081" },
			func(req *http.Request) { req.Host = "[::2]" },
		},
	} {
		for _, change := range changes {
			c.do("POST", "/gateways/main:broadcast", map[string]any{"path": "/a", "data": hello}, change).fails(t, status, 7, "foreign")
			c.do("GET", "/connections/id-0", nil, change).fails(t, status, 7, "foreign")
		}
	}
	for _, host := range []string{"localhost", "LOCALHOST:1", "127.1.2.3:80", "[::1]", "[::1]:80"} {
		c.do("GET", "/connections/id-0", nil, func(req *http.Request) { req.Host = host }).succeeds(t, shown)
	}
}

// TestCheck: without tokens, nobody else's machine.
func TestCheck(t *testing.T) {
	v, err := token.New(token.Config{Secret: []byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{":8081", "0.0.0.0:8081", "192.0.2.1:8081", "example.com:8081", "[::]:8081"} {
		cfg := control.Config{Address: address, MaxMessageBytes: 1}
		if _, err := control.StartConnections(cfg, func(string, int) {}, slog.Default()); err == nil || !strings.Contains(err.Error(), "set tokens, or listen on 127.0.0.1") {
			t.Errorf("%s: %v", address, err)
		}
		if cfg.Verifier = v; cfg.CheckConnections() != nil {
			t.Errorf("%s with tokens: %v", address, cfg.CheckConnections())
		}
	}
	for _, address := range []string{"localhost:0", "127.0.0.1:0", "127.9.9.9:0", "[::1]:0"} {
		if err := (control.Config{Address: address, MaxMessageBytes: 1}).CheckConnections(); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for want, cfg := range map[string]control.Config{
		"address":           {Address: "nowhere", MaxMessageBytes: 1},
		"max_message_bytes": {Address: "127.0.0.1:0"},
	} {
		if err := cfg.CheckConnections(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestAddressInUse: the error says what to do.
func TestAddressInUse(t *testing.T) {
	c := start(t, directoryOf(nil), false)
	_, err := control.StartConnections(control.Config{Address: strings.TrimPrefix(c.url, "http://"), MaxMessageBytes: 1, Connections: directoryOf(nil)}, func(string, int) {}, slog.Default())
	if err == nil || !strings.Contains(err.Error(), "another program listens there") {
		t.Error(err)
	}
}

// TestDocument: the server has every method that the document has.
func TestDocument(t *testing.T) {
	c := start(t, directoryOf(access.Bindings{"a": access.Admin}), true).as("a")
	c.documents(t, control.ConnectionRoutes())
	for path, item := range c.doc.Paths.Map() {
		path = strings.NewReplacer("{connection_id}", "none", "{gateway_id}", "none").Replace(strings.TrimPrefix(path, basePath))
		for verb := range item.Operations() {
			if a := c.do(verb, path, nil); a.status == http.StatusMethodNotAllowed || strings.Contains(a.raw, "nothing at this path") {
				t.Errorf("%s %s: %d %s", verb, path, a.status, a.raw)
			}
		}
	}
}

// TestManagementDocument: the document of the management API has every route, and says what it takes.
func TestManagementDocument(t *testing.T) {
	c := manage(t, directoryOf(nil), false)
	c.documents(t, control.ManagementRoutes())
	send := c.doc.Paths.Value("/apigateways/websocket/v1/connections/{connection_id}:send").Post
	body := send.RequestBody.Value.Content.Get("application/json").Schema.Value
	if !slices.Equal(body.Required, []string{"data"}) || body.Properties["type"] == nil || body.Properties["connectionId"] != nil || send.Parameters[0].Value.Name != "connection_id" {
		t.Errorf("to send takes %v, of which it needs %v", slices.Sorted(maps.Keys(body.Properties)), body.Required)
	}
}

// documents fails unless the document has the routes, and no others.
func (c *client) documents(t *testing.T, routes []control.Route) {
	t.Helper()
	n := 0
	for _, item := range c.doc.Paths.Map() {
		n += len(item.Operations())
	}
	if n != len(routes) || n == 0 {
		t.Errorf("the document has %d operations, and there are %d routes", n, len(routes))
	}
	for _, r := range routes {
		item := c.doc.Paths.Value(r.Path)
		if item == nil || item.GetOperation(r.Verb) == nil {
			t.Errorf("the document lacks %s %s", r.Verb, r.Path)
			continue
		}
		if o := item.GetOperation(r.Verb); o.Summary == "" || o.Responses.Status(http.StatusOK) == nil || o.Responses.Default() == nil || (o.RequestBody != nil) != r.Body {
			t.Errorf("%s %s lacks a summary, an answer, an error or a body", r.Verb, r.Path)
		}
	}
}
