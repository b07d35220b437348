package tests

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// counting is a stream that sends {"n":1}, {"n":2} and so on.
func counting(name string, every time.Duration, output string) string {
	return fmt.Sprintf("input: { generate: { interval: %s, mapping: 'root.n = count(%q)' } }\noutput: { websocket_broadcast: { %s } }\n", every, name, output)
}

// counter is a client that must get every number once, in order, and no end.
type counter struct {
	first, last atomic.Int64
	failed      atomic.Pointer[error]
}

func (c *counter) run(ctx context.Context, url string, open func()) {
	fail := func(err error) {
		if ctx.Err() == nil {
			c.failed.CompareAndSwap(nil, &err)
		}
	}
	ws, _, err := websocket.Dial(ctx, url, nil)
	open()
	if err != nil {
		fail(err)
		return
	}
	defer func() { _ = ws.CloseNow() }()
	for {
		_, text, err := ws.Read(ctx)
		if err != nil {
			fail(fmt.Errorf("behind number %d: %w", c.last.Load(), err))
			return
		}
		var m struct{ N int64 }
		if err := json.Unmarshal(text, &m); err != nil {
			fail(fmt.Errorf("%s: %w", text, err))
			return
		}
		if !c.first.CompareAndSwap(0, m.N) && m.N != c.last.Load()+1 {
			fail(fmt.Errorf("number %d came behind %d", m.N, c.last.Load()))
			return
		}
		c.last.Store(m.N)
	}
}

// While routes, gateways, limits, devices and triggers come and go, each client of what stays gets every message of a
// flood once and in order, and none is closed, and so does the one of a trigger what a device sends. RELOAD_CLIENTS=1000
// and RELOAD_CHANGES=200 make it longer.
func TestReloadUnderLoad(t *testing.T) {
	clients, changes := 100, 30
	if more, err := strconv.Atoi(os.Getenv("RELOAD_CLIENTS")); err == nil {
		clients = more
	}
	if more, err := strconv.Atoi(os.Getenv("RELOAD_CHANGES")); err == nil {
		changes = more
	}
	// A flood that the clients, on the same cores, can read.
	every := time.Duration(clients) * 15 * time.Microsecond
	side := freeAddress(t)
	config := func(c *managed, i int) string {
		routes := []string{
			fmt.Sprintf("{ path: /stays, history: { max_messages: %d }%s%s }", 100+i%7*100, [...]string{"", ", latest: {}", ", watch: {}"}[i%3], [...]string{"", ", on_message: [ { mapping: 'root = deleted()' } ]"}[i/2%2]),
			"{ path: /other }",
			"{ path: /readings }",
		}
		if i%2 == 1 {
			routes = append(routes, "{ path: /comes }")
		}
		fields := fmt.Sprintf("routes: [ %s ]\nqueue_bytes: %d\nmax_message_bytes: %d\nping_interval: %ds\ncompression: %v\nmax_connections: %d\nhandshake_timeout: %ds\naccess_log: false",
			strings.Join(routes, ", "), 8<<20+i, 1000+i, 20+i%10, i%4 > 1, 5000+i, 10+i/50)
		text := strings.Replace(c.gatewayAt(fields), "format: logfmt", "level: INFO, format: logfmt", 1)
		text = fmt.Sprintf("management_api: { address: %q }\nmqtt_broker: { address: %q }\n", c.api, c.mqtt) + text
		if i%3 > 0 {
			text += fmt.Sprintf("  - { label: side, address: %q, access_log: false, routes: [ { path: /side%d }, { path: /s } ] }\n", side, i%5)
		}
		return text
	}
	m := newManaged(t)
	c := m.iotcast
	file := writeFile(t, config(m, 0))
	c.launch("streams", "-o", file)
	c.waitLog("Launching")
	c.waitReady()
	r := c.reloading(file)
	m.post("/iot-devices/v1/registries", `{"name": "home"}`)
	m.post("/iot-devices/v1/devices", `{"registryId": "home", "name": "boiler"}`)
	m.post("/triggers/v1/triggers", telemetry("$devices/boiler/events", "/readings"))

	ctx, cancel := context.WithCancel(t.Context())
	var running, opening sync.WaitGroup
	defer running.Wait()
	defer cancel()
	all := make([]*counter, clients)
	for i := range all {
		all[i] = new(counter)
		opening.Add(1)
		url := c.url([]string{"/stays", "/other"}[i%2])
		running.Go(func() { all[i].run(ctx, url, opening.Done) })
		if i%50 == 49 {
			opening.Wait()
		}
	}
	opening.Wait()
	c.must(http.MethodPost, "/streams/stays", counting("stays", every, "gateway: main, path: /stays"))
	c.must(http.MethodPost, "/streams/other", counting("other", every, "gateway: main, path: /other"))
	// Clients of what comes and goes, which come and go with it.
	var ended atomic.Int64
	for _, url := range []string{c.url("/comes"), "ws://" + side + "/s"} {
		running.Go(func() {
			for ctx.Err() == nil {
				if ws, _, err := websocket.Dial(ctx, url, nil); err == nil {
					_, _, _ = ws.Read(ctx)
					_ = ws.CloseNow()
					ended.Add(1)
				}
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	check := func() {
		t.Helper()
		for i, one := range all {
			if err := one.failed.Load(); err != nil {
				t.Fatalf("client %d: %v", i, *err)
			}
		}
	}
	readings := connectGo(t, c.url("/readings"))
	began := time.Now()
	for i := 1; i <= changes; i++ {
		r.apply(config(m, i))
		m.comeOrGo(i)
		m.sends(i)
		check()
	}
	got, _ := readings.waitEntries(changes)
	for i, e := range got {
		if string(e.payload) != strconv.Itoa(i+1) {
			t.Fatalf("reading %d is %q", i+1, e.payload)
		}
	}
	took := time.Since(began)
	numbers := func(least bool) (n int64) {
		for i, one := range all {
			if last := one.last.Load(); i == 0 || least == (last < n) {
				n = last
			}
		}
		return n
	}
	goal := numbers(false)
	eventually(t, "everyone has what the first had", func() bool { check(); return numbers(true) >= goal })
	for i, one := range all {
		if first := one.first.Load(); first != 1 {
			t.Errorf("client %d has begun at %d, and was there before the first message", i, first)
		}
	}
	if ended.Load() == 0 {
		t.Error("nobody was there on what came and went")
	}
	t.Logf("%d clients, %d changes in %v, %d messages to each, %d connections of what came and went", clients, changes, took.Round(time.Millisecond), goal, ended.Load())
}

// comeOrGo makes a device and a trigger for it, or removes them.
func (m *managed) comeOrGo(i int) {
	m.t.Helper()
	if i%2 == 1 {
		m.post("/iot-devices/v1/devices", `{"registryId": "home", "name": "guest", "topicAliases": {"guest/": "$devices/{id}/"}}`)
		m.post("/triggers/v1/triggers", strings.Replace(telemetry("guest/events", "/other"), `"telemetry"`, `"guest-trigger"`, 1))
		return
	}
	m.change(http.MethodDelete, "/triggers/v1/triggers/guest-trigger", "")
	m.change(http.MethodDelete, "/iot-devices/v1/devices/guest", "")
}

// sends has the device send a number.
func (m *managed) sends(i int) {
	m.t.Helper()
	body := fmt.Sprintf(`{"topic": "$devices/boiler/events", "data": %q}`, base64.StdEncoding.EncodeToString(strconv.AppendInt(nil, int64(i), 10)))
	if status, answer := m.rest(http.MethodPost, "/iot-devices/v1/devices/boiler/publish", body); status != http.StatusOK {
		m.t.Fatalf("publishing: %d %s", status, answer)
	}
}
