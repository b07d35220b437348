package tests

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// reloading is an iotcast whose root config changes while it runs.
type reloading struct {
	*iotcast
	file             string
	changed, refused int
}

func (c *iotcast) reloading(file string) *reloading { return &reloading{iotcast: c, file: file} }

// write puts another config in the place of the one before, and says so.
func (r *reloading) write(config string) {
	r.t.Helper()
	if err := os.WriteFile(r.file+".new", []byte(config), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.file+".new", r.file); err != nil {
		r.t.Fatal(err)
	}
	r.signal(syscall.SIGHUP)
}

// apply changes the config, and returns when the gateways are changed.
func (r *reloading) apply(config string) {
	r.t.Helper()
	r.write(config)
	r.changed++
	eventually(r.t, "the gateways are changed", func() bool {
		return strings.Count(r.out.String(), "The gateways are changed") >= r.changed
	})
}

// refuse changes the config to one that cannot be, and returns when the log says so.
func (r *reloading) refuse(config string, want ...string) {
	r.t.Helper()
	r.write(config)
	r.refused++
	var line string
	eventually(r.t, "the config is refused", func() bool {
		lines := strings.Split(r.out.String(), "The changed config is refused")
		line = lines[len(lines)-1]
		return len(lines) > r.refused
	})
	line, _, _ = strings.Cut(line, "\n")
	for _, text := range want {
		if !strings.Contains(line, text) {
			r.t.Errorf("the log does not say %s: %s", text, line)
		}
	}
}

// dial connects to a gateway, or tells the status of the refusal.
func (c *iotcast) dial(url string, client *tls.Config, header http.Header) (*websocket.Conn, int) {
	c.t.Helper()
	transport := &http.Transport{TLSClientConfig: client}
	c.t.Cleanup(transport.CloseIdleConnections)
	ws, res, err := websocket.Dial(c.t.Context(), url, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header,
	})
	switch {
	case err == nil:
		ws.SetReadLimit(-1)
		c.t.Cleanup(func() { _ = ws.CloseNow() })
		return ws, res.StatusCode
	case res == nil:
		return nil, 0
	}
	return nil, res.StatusCode
}

// status is that of a handshake.
func (c *iotcast) status(path string, header http.Header) int {
	c.t.Helper()
	ws, status := c.dial(c.url(path), nil, header)
	if ws != nil {
		_ = ws.CloseNow()
	}
	return status
}

// expectEnd reads until the connection ends.
func expectEnd(t *testing.T, ws *websocket.Conn, code websocket.StatusCode, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if _, _, err := ws.Read(ctx); err != nil {
			if websocket.CloseStatus(err) != code || !strings.Contains(err.Error(), reason) {
				t.Errorf("it ended with %v, want %d %s", err, code, reason)
			}
			return
		}
	}
}

// say sends a text and returns the answer.
func say(t *testing.T, ws *websocket.Conn, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_, answer, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

// gatewayAt is a root config with one gateway, and fields of it.
func (c *iotcast) gatewayAt(fields string) string {
	return fmt.Sprintf("http: { address: %q }\nlogger: { format: logfmt }\nwebsocket_gateways:\n  - label: main\n    address: %q\n    %s\n",
		c.http, c.gateway, strings.ReplaceAll(strings.TrimSpace(fields), "\n", "\n    "))
}

// runReloading runs streams mode.
func runReloading(t *testing.T, fields string) *reloading {
	t.Helper()
	c := newIotcast(t)
	file := writeFile(t, c.gatewayAt(fields))
	c.launch("streams", "-o", file)
	c.waitLog("Launching")
	c.waitReady()
	return c.reloading(file)
}

// A route comes, a route goes, and the others notice nothing. Streams find what there is.
func TestReloadRoutes(t *testing.T) {
	t.Parallel()
	const stays = "{ path: /telemetry, history: { max_messages: 1000 }, latest: { by: topic } }"
	c := runReloading(t, "viewer: /\nroutes: [ "+stays+", { path: /alarms } ]")
	post := func(id, path string) {
		t.Helper()
		c.must(http.MethodPost, "/streams/"+id, ticking(id, "gateway: main, path: "+path))
	}
	post("telemetry", "/telemetry")
	post("alarms", "/alarms")
	telemetry, alarms := c.page("/telemetry"), c.page("/alarms")
	receive(t, telemetry, "telemetry")
	receive(t, alarms, "alarms")
	if status := c.status("/new", nil); status != http.StatusNotFound {
		t.Fatalf("before there is a route it answers %d", status)
	}

	c.apply(c.gatewayAt("viewer: /\nroutes: [ { path: /new }, " + stays + " ]"))
	expectEnd(t, alarms, websocket.StatusGoingAway, "route removed")
	if status := c.status("/alarms", nil); status != http.StatusNotFound {
		t.Errorf("a route that is removed answers %d", status)
	}
	post("new", "/new")
	receive(t, c.page("/new"), "new")
	receive(t, telemetry, "telemetry")
	c.waitLog(`path \"/alarms\" does not exist on gateway \"main\"`)
	if page := c.get("/"); !strings.Contains(page, "/new") || strings.Contains(page, "/alarms") {
		t.Errorf("the viewer does not list what there is: %s", page)
	}
	eventually(t, "the gauge of the route that is gone is 0", func() bool {
		return c.metric("websocket_connections", `path="/alarms"`) == 0 && c.metric("websocket_connections", `path="/new"`) == 1
	})
	if n := c.metric("websocket_closed", `path="/alarms",reason="route_removed"`); n != 1 {
		t.Errorf("%v connections are counted as closed with the route", n)
	}
	if status, answer := c.request(http.MethodPost, "/streams/x", ticking("x", "gateway: main, path: /alarms")); status < 400 || !strings.Contains(answer, "does not exist") {
		t.Errorf("an output to a route that is gone: %d %s", status, answer)
	}

	// It is back: the stream goes on by itself.
	c.apply(c.gatewayAt("viewer: /\nroutes: [ { path: /alarms }, " + stays + " ]"))
	receive(t, c.page("/alarms"), "alarms")
	receive(t, telemetry, "telemetry")
	if n := c.metric("websocket_handshakes", `path="/telemetry",reason="",status="101"`); n != 1 {
		t.Errorf("%v connections were opened to the route that stays, want 1", n)
	}
	// What it keeps is kept: the page that comes gets the last value before all else.
	_, first, err := c.page("/telemetry").Read(t.Context())
	if err != nil || !strings.Contains(string(first), "last_event_id") {
		t.Errorf("%s %v", first, err)
	}
	if strings.Contains(c.out.String(), "level=error") && !strings.Contains(c.out.String(), "does not exist") {
		t.Error("there are errors")
	}
}

func (c *iotcast) get(path string) string {
	c.t.Helper()
	res, err := http.Get("http://" + c.gateway + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(body)
}

// What a route is like changes for those that come at once, and for those that are there
// with the next message.
func TestReloadSettings(t *testing.T) {
	t.Parallel()
	const one, two = "a-secret-of-32-bytes-or-more-than-that", "another-secret-of-32-bytes-or-more"
	c := runReloading(t, "routes: [ { path: /a, on_message: [ { mapping: 'root = deleted()' } ] } ]\ntokens: { secret: "+one+" }")
	open, status := c.dial(c.url("/a"), nil, bearerHeader(jwt(one, time.Hour)))
	if open == nil {
		t.Fatal(status)
	}
	short, _ := c.dial(c.url("/a"), nil, bearerHeader(jwt(one, 8*time.Second)))

	answers := func(name string, header http.Header, want int) {
		t.Helper()
		if got := c.status("/a", header); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	// Tokens, and another handler: the open connection has its claims.
	c.apply(c.gatewayAt("routes: [ { path: /a, on_message: [ { mapping: 'root = {\"one\": metadata(\"websocket_claims\").sub}' } ] } ]\ntokens: { secret: " + two + " }"))
	answers("old token", bearerHeader(jwt(one, time.Hour)), http.StatusUnauthorized)
	answers("new token", bearerHeader(jwt(two, time.Hour)), http.StatusSwitchingProtocols)
	if got := say(t, open, "{}"); got != `{"one":"page"}` {
		t.Errorf("the first handler answers %s", got)
	}
	c.apply(c.gatewayAt("routes: [ { path: /a, on_message: [ { mapping: 'root = {\"two\": content().length()}' } ] } ]"))
	answers("no token", nil, http.StatusSwitchingProtocols)
	if got := say(t, open, "{}"); got != `{"two":2}` {
		t.Errorf("the second handler answers %s", got)
	}
	expectEnd(t, short, 4401, "token expired")

	// Who may come.
	foreign := http.Header{"Origin": {"https://dashboard.example.com"}}
	answers("a page", foreign, http.StatusForbidden)
	c.apply(c.gatewayAt("routes: [ { path: /a, sse: true } ]\nallowed_origins: [ dashboard.example.com ]"))
	answers("a page", foreign, http.StatusSwitchingProtocols)
	req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.gateway+"/a?device_id=x", nil))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("device_id without watch is answered with %d", res.StatusCode)
	}
	c.apply(c.gatewayAt("routes: [ { path: /a, watch: {}, on_connect: [ { mapping: 'meta websocket_status = if this.query.room == \"x\" { 403 }' } ] } ]"))
	answers("on_connect", nil, http.StatusSwitchingProtocols)
	if got := c.status("/a?room=x", nil); got != http.StatusForbidden {
		t.Errorf("on_connect answers %d", got)
	}
	if got := say(t, open, `{"watch":{"device_ids":["boiler"]}}`); got != `{"messages":[],"watch":{"device_ids":["boiler"],"topics":[]}}` {
		t.Errorf("the open connection chooses: %s", got)
	}
	c.apply(c.gatewayAt("routes: [ { path: /a, max_connections: 1 } ]"))
	answers("one too many", nil, http.StatusServiceUnavailable)

	// What a client may send.
	c.apply(c.gatewayAt("routes: [ { path: /a } ]\nmax_message_bytes: 5\naccess_log: false"))
	if err := open.Write(t.Context(), websocket.MessageText, []byte("123456")); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, open, websocket.StatusMessageTooBig, "")

	// What an output may do.
	c.must(http.MethodPost, "/streams/tick", ticking("tick", "gateway: main, path: /a"))
	ws := c.page("/a")
	receive(t, ws, "tick")
	c.apply(c.gatewayAt("routes: [ { path: /a } ]\naccess_bindings: [ { service_account_id: other, roles: [ api-gateway.admin ] } ]"))
	c.waitLog("lacks the role api-gateway.websocketBroadcaster")
	c.apply(c.gatewayAt("routes: [ { path: /a } ]"))
	receive(t, ws, "tick")
	if strings.Contains(c.out.String(), one) || strings.Contains(c.out.String(), two) {
		t.Error("the log has a secret")
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// Gateways come and go, move, and change how they listen.
func TestReloadGateways(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls-key.pem")
	ca.issue("localhost", certFile, keyFile)
	c := runReloading(t, "routes: [ { path: /a } ]")
	base := c.gatewayAt("routes: [ { path: /a } ]")
	side := func(label, address, fields string) string {
		return fmt.Sprintf("  - { label: %s, address: %q, routes: [ { path: /s } ]%s }\n", label, address, fields)
	}
	c.must(http.MethodPost, "/streams/a", ticking("a", "gateway: main, path: /a"))
	main := c.page("/a")
	alive := func() { t.Helper(); receive(t, main, "a") }
	alive()

	first, second := freeAddress(t), freeAddress(t)
	c.apply(base + side("side", first, ""))
	c.must(http.MethodPost, "/streams/s", ticking("s", "gateway: side, path: /s"))
	ws, _ := c.dial("ws://"+first+"/s", nil, nil)
	receive(t, ws, "s")
	alive()

	// To another address: the connections stay.
	c.apply(base + side("side", second, ""))
	receive(t, ws, "s")
	if late, status := c.dial("ws://"+first+"/s", nil, nil); late != nil || status != 0 {
		t.Errorf("the old address answers %d", status)
	}
	moved, _ := c.dial("ws://"+second+"/s", nil, nil)
	receive(t, moved, "s")

	// TLS on the same address.
	c.apply(base + side("side", second, fmt.Sprintf(", tls: { cert_file: %q, key_file: %q }", certFile, keyFile)))
	secure, _ := c.dial("wss://"+second+"/s", ca.trusts(), nil)
	if secure == nil {
		t.Fatal("no connection over TLS")
	}
	receive(t, secure, "s")
	receive(t, ws, "s")
	receive(t, moved, "s")
	if plain, _ := c.dial("ws://"+second+"/s", nil, nil); plain != nil {
		t.Error("it listens without TLS still")
	}

	// An address that is taken refuses all of it, another route, too.
	c.refuse(strings.Replace(base, "/a", "/b", 1)+side("side", c.http, ""), "binding websocket_gateways", `\"side\"`, c.http)
	if status := c.status("/b", nil); status != http.StatusNotFound {
		t.Errorf("a part of what was refused is there: %d", status)
	}
	receive(t, secure, "s")
	alive()

	// Another gateway takes the address over, and the first is gone.
	c.apply(base + side("other", second, ""))
	for _, gone := range []*websocket.Conn{ws, moved, secure} {
		expectEnd(t, gone, websocket.StatusGoingAway, "server is shutting down")
	}
	other, status := c.dial("ws://"+second+"/s", nil, nil)
	if other == nil {
		t.Fatal(status)
	}
	c.apply(base)
	expectEnd(t, other, websocket.StatusGoingAway, "server is shutting down")
	alive()
	eventually(t, "the metric says so", func() bool { return c.metric("websocket_gateway_up", `gateway="side"`) == 0 })
}

// What is wrong is refused as a whole, as iotcast lint says it, in both modes.
func TestReloadRefused(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"run", "streams"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := newIotcast(t)
			base, stream := c.gatewayAt("routes: [ { path: /a } ]"), ""
			if mode == "run" {
				stream = ticking("tick", "gateway: main, path: /a")
			}
			file := writeFile(t, base+stream)
			args := []string{"run", file}
			if mode == "streams" {
				args = []string{"streams", "-o", file}
			}
			c.launch(args...)
			c.waitLog("Launching")
			r := c.reloading(file)
			ws := c.page("/a")
			for fields, want := range map[string]string{
				"routes: [ { path: /a }, { path: /b } ]\nqueue_bytes: 1":                                        file + "(7,1) queue_bytes must be at least",
				"routes: [ { path: /a }, { path: /b }, { path: /b } ]":                                          file + "(4,1) path /b is there twice",
				"routes: [ { path: /a }, { path: /b } ]\nroute: x":                                              file + "(7,1) field route not recognised",
				"routes: [ { path: /a }, { path: /b } ]\ntokens: { public_key_files: [ /absent ] }":             "/absent",
				"routes: [ { path: /a }, { path: /b } ]\ntls: { cert_file: /absent, key_file: /absent }":        "cert_file",
				"routes: [ { path: /a }, { path: /b, on_message: [ { resource: absent } ] } ]":                  "on_message",
				"routes: [ { path: /a }, { path: /b, on_message: [ { mapping: 'root = nonsense(' } ] } ]":       file + "(6,",
				"routes: [ { path: /a }, { path: /b } ]\n}":                                                     "YAML",
				"routes: [ { path: /a }, { path: /b } ]\ntokens: { secret: '${UNSET_SECRET}' }\nviewer: /other": "UNSET_SECRET",
			} {
				r.refuse(c.gatewayAt(fields)+stream, want)
			}
			if mode == "run" {
				r.refuse(c.gatewayAt("routes: [ { path: /b } ]")+stream, `path \"/a\"`)
				receive(t, ws, "tick")
			}
			if status := c.status("/b", nil); status != http.StatusNotFound {
				t.Errorf("a part of what was refused is there: %d", status)
			}
			r.apply(c.gatewayAt("routes: [ { path: /a }, { path: /b } ]") + stream)
			if status := c.status("/b", nil); status != http.StatusSwitchingProtocols {
				t.Errorf("the new route answers %d", status)
			}
			if mode == "run" {
				r.write(c.gatewayAt("routes: [ { path: /a } ]") + ticking("tock", "gateway: main, path: /a"))
				c.waitLog("The stream changed, too")
				receive(t, ws, "tick")
			}
		})
	}
}

// What --set sets stays set.
func TestReloadWithSet(t *testing.T) {
	t.Parallel()
	c := newIotcast(t)
	file := writeFile(t, strings.Replace(c.gatewayAt("routes: [ { path: /a } ]"), c.gateway, "127.0.0.1:1", 1))
	c.launch("streams", "-o", file, "--set", "websocket_gateways.0.address="+c.gateway)
	c.waitLog("Launching")
	ws := c.page("/a")
	r := c.reloading(file)
	r.apply(strings.Replace(c.gatewayAt("routes: [ { path: /a }, { path: /b } ]"), c.gateway, "127.0.0.1:2", 1))
	if status := c.status("/b", nil); status != http.StatusSwitchingProtocols {
		t.Errorf("the new route answers %d", status)
	}
	ctx := ws.CloseRead(t.Context())
	if err := ws.Ping(ctx); err != nil {
		t.Error(err)
	}
}
