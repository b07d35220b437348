package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/fanout"
)

// listener reads server-sent events.
type listener struct {
	*testing.T
	lines *bufio.Scanner
	close func() error
}

func listenTo(t *testing.T, g *Gateway, path string, header http.Header) *listener {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Accept": {"text/html, text/event-stream"}}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s: %v", res.Status, res.Header)
	}
	if from := header.Get("Origin"); res.Header.Get("Access-Control-Allow-Origin") != from {
		t.Errorf("origin %q: %v", from, res.Header)
	}
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != ":" {
		t.Fatalf("behind the header comes %q, want a comment at once", lines.Text())
	}
	return &listener{t, lines, res.Body.Close}
}

func envelopeOf(m envelope.Message) string {
	return string(envelope.AppendEnvelope(nil, envelope.DeviceFormat, []envelope.Message{m}))
}

// event returns the next event: its id and its data, both empty at the end of the stream.
func (l *listener) event() (id, data string) {
	l.Helper()
	for l.lines.Scan() {
		line := l.lines.Text()
		switch {
		case line == "" && data != "":
			return id, strings.TrimSuffix(data, "\n")
		case strings.HasPrefix(line, "id: "):
			id = line[4:]
		case strings.HasPrefix(line, "data: "):
			data += line[6:] + "\n"
		}
	}
	return "", ""
}

func (l *listener) wants(id, data string) {
	l.Helper()
	if gotID, got := l.event(); gotID != id || got != data {
		l.Fatalf("got %q, %s\nwant %q, %s", gotID, got, id, data)
	}
}

func TestEvents(t *testing.T) {
	g, observed := start(t, func(c *Config) {
		live(c)
		c.Routes[0].Events = true
		c.Routes[0].AllowedOrigins = []string{"http://dashboard.example.com"}
	})
	r := g.Routes()["/a"]
	all := listenTo(t, g, "/a", http.Header{"Origin": {"http://dashboard.example.com"}})
	one := listenTo(t, g, "/a?device_id=pump&heartbeat=1s", nil)
	one.wants("", `{"messages":[],"watch":{"device_ids":["pump"],"topics":[]}}`)
	first := send(r, reading(1, boiler, events), reading(2, pump, alarm), reading(3, boiler, events))
	all.wants("3", first)
	one.wants("2", envelopeOf(reading(2, pump, alarm)))
	one.wants("", `{"messages":[]}`)

	// Lines stand in fields of their own, what is binary is left out.
	_, _ = r.Broadcast(fanout.Message{Opcode: fanout.Text, Payload: []byte("a\r\n\nb\rc\n"), ID: "bad\nid"})
	_, _ = r.Broadcast(fanout.Message{Opcode: fanout.Binary, Payload: []byte{0xff}})
	all.wants("", "a\n\nb\nc\n")
	for n := range 20 {
		send(r, reading(10+n, pump, alarm), reading(100+n, boiler, events))
	}
	for n := range 20 {
		if id, _ := all.event(); id != fmt.Sprint(100+n) {
			t.Fatalf("event %s", id)
		}
	}

	// A browser goes on by the header.
	resumed := listenTo(t, g, "/a", http.Header{"Last-Event-Id": {"100"}})
	if id, data := resumed.event(); id != "101" || !strings.Contains(data, `"11"`) {
		t.Fatalf("resumed with %s, %s", id, data)
	}
	middle := listenTo(t, g, "/a?device_id=boiler", http.Header{"Last-Event-Id": {"1"}})
	middle.event()
	middle.wants("3", envelopeOf(reading(3, boiler, events)))

	if err := one.close(); err != nil {
		t.Fatal(err)
	}
	observed.waitFor(t, "main/a closed_by_client")
	g.Close(t.Context())
	for id, data := all.event(); data != ""; id, data = all.event() {
		t.Errorf("event %s, %s", id, data)
	}
	observed.waitFor(t, "main/a shutdown")
	observed.waitFor(t, "main/a 200")
}

// TestEventsAreGuarded as WebSockets are.
func TestEventsAreGuarded(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		c.Routes[0].Events = true
		c.Routes[0].Tokens = &Tokens{Verifier: verifier(t)}
	})
	for path, want := range map[string]int{"/a": http.StatusUnauthorized, "/b/c": http.StatusUpgradeRequired} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		for _, origin := range []string{"", "https://evil.example.com"} {
			status := want
			if origin != "" {
				req.Header.Set("Origin", origin)
				status = http.StatusForbidden
			}
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != status {
				t.Errorf("%s from %q: %s, want %d", path, origin, res.Status, status)
			}
			if status == http.StatusUpgradeRequired && (!strings.Contains(string(text), "sse: true of its route in YAML, SSE in Go") || res.Header.Get("Upgrade") != "websocket") {
				t.Errorf("%s: %v %s", path, res.Header, text)
			}
		}
	}
}

// TestEventsAnswerWhoNamesNothing: a client of events chooses by its URL alone. So a URL
// that names nothing is answered, where a choice is required, and with latest=true.
func TestEventsAnswerWhoNamesNothing(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		for i := range c.Routes {
			c.Routes[i].Watch = &Watch{Required: i == 1}
			c.Routes[i].Events = true
		}
	})
	plain := listenTo(t, g, "/a", nil)
	anew := listenTo(t, g, "/a?latest=true", nil)
	required := listenTo(t, g, "/b/c", nil)
	anew.wants("", `{"messages":[],"watch":{}}`)
	if _, data := required.event(); !strings.HasPrefix(data, `{"messages":[],"error":{"code":"watch","message":"neither devices nor topics`) {
		t.Errorf("got %s", data)
	}
	text := send(g.Routes()["/a"], reading(1, boiler, events))
	plain.wants("1", text)
	anew.wants("1", text)
}
