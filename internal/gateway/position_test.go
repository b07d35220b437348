package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/iotcast/iotcast/internal/fanout"
)

// position reads an envelope, and returns the ID behind which the client goes on.
func (p *page) position() string {
	p.Helper()
	var doc struct {
		Position string `json:"last_event_id"`
	}
	text := p.read()
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		p.Fatalf("%s: %v", text, err)
	}
	return doc.Position
}

// Last values may be older than the history. A client that has them goes on behind the
// message that was the newest then. It is told of no gap where there is none.
func TestLastValuesSayWhereToGoOn(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		live(c)
		c.Routes[0].Events = true
		c.Routes[0].History.Bounds.MaxMessages = 2
		c.Routes[0].Latest = fanout.Latest{MaxKeys: 10}
	})
	r := g.Routes()["/a"]
	send(r, reading(1, pump, alarm))
	for n := 2; n < 10; n++ {
		send(r, reading(n, boiler, events))
	}
	for query, answers := range map[string]int{"": 0, "?device_id=pump": 1, "?topic=$devices/%23": 1} {
		first := watchFrom(t, g, "/a"+query, "")
		for range answers {
			first.read()
		}
		at := first.position()
		if at != "9" {
			t.Fatalf("%q goes on behind %q, want 9", query, at)
		}
		separator := "?"
		if query != "" {
			separator = "&"
		}
		next := watchFrom(t, g, "/a"+query+separator+"last_event_id="+at, "")
		for range answers {
			next.read()
		}
		if err := next.ws.Write(t.Context(), 1, []byte(`{"watch":{"device_ids":["pump"]}}`)); err != nil {
			t.Fatal(err)
		}
		if text := next.read(); !strings.Contains(text, `"watch"`) { // neither a gap nor anything again
			t.Errorf("%q resumed with %s", query, text)
		}
		if at := next.position(); at != "9" {
			t.Errorf("%q goes on behind %q after a choice, want 9", query, at)
		}
	}
	l := listenTo(t, g, "/a?device_id=pump", nil)
	l.event()
	if id, data := l.event(); id != "9" || !strings.Contains(data, `"event_id":"1"`) {
		t.Errorf("event %s, %s: want the message 1, behind 9", id, data)
	}
}

// A client may choose anew while it has no connection, and resume with latest=true. It
// gets what it has missed, and then all last values.
func TestResumeWithLatest(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		live(c)
		c.Routes[0].Latest = fanout.Latest{MaxKeys: 10}
	})
	r := g.Routes()["/a"]
	send(r, reading(1, pump, alarm))
	for n := 2; n < 5; n++ {
		send(r, reading(n, boiler, events))
	}
	for query, missed := range map[string][][]string{
		"":                    {{"3"}, {"4"}, {"1", "4"}},
		"&topic=$devices/%23": {nil, {"3"}, {"4"}, {"1", "4"}},
		"&device_id=pump":     {nil, {"1"}},
		"&device_id=other":    {nil},
	} {
		p := watchFrom(t, g, "/a?latest=true&last_event_id=2"+query, "")
		for _, ids := range missed {
			p.gets(ids...)
		}
		p.watch(`{"watch":{}}`)
		p.wants(`{"messages":[],"watch":{}}`)
		p.gets("1", "4")
	}
}

// A page of another origin that may connect can read why it may not now, and a page of
// any other cannot.
func TestRefusalsAreShared(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		c.Routes[0].AllowedOrigins = []string{"http://dashboard.example.com"}
		c.Routes[0].Watch = new(Watch)
	})
	for _, test := range []struct {
		path, origin string
		status       int
		shared       bool
	}{
		{"/a", "http://dashboard.example.com", http.StatusUpgradeRequired, true},
		{"/a?heartbeat=x", "http://dashboard.example.com", http.StatusBadRequest, true},
		{"/a", "http://evil.example.com", http.StatusForbidden, false},
		{"/a", "", http.StatusUpgradeRequired, false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.Addr().String()+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.origin != "" {
			req.Header.Set("Origin", test.origin)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		want := ""
		if test.shared {
			want = test.origin + " true Origin"
		}
		h := res.Header
		got := strings.TrimSpace(fmt.Sprint(h.Get("Access-Control-Allow-Origin"), " ", h.Get("Access-Control-Allow-Credentials"), " ", h.Get("Vary")))
		if res.StatusCode != test.status || got != want {
			t.Errorf("%s from %q: %d, shared with %q; want %d, %q", test.path, test.origin, res.StatusCode, got, test.status, want)
		}
	}
}
