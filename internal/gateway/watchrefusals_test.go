package gateway

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestWatchRefusals(t *testing.T) {
	g, observed := start(t, live)
	for query, want := range map[string]string{
		"device_id=a/b":  "holds '/'",
		"device_id=a,,b": "empty",
		"topic=a/%23/b":  "topic filter",
		"device_id=" + strings.Repeat("x,", maxWatched) + "x": "may be",
		"heartbeat=1ms":                              "heartbeat must be",
		"heartbeat=often":                            "heartbeat must be",
		"rewind=-5m":                                 "rewind must be",
		"latest=no":                                  "latest must be",
		"latest=":                                    "latest must be",
		"interval=":                                  "interval must be",
		"interval=1s&interval=2s":                    "interval stands there 2 times",
		"latest=true&latest=true":                    "latest stands there 2 times",
		"rewind=1m&rewind=1m":                        "rewind stands there 2 times",
		"heartbeat=1s&heartbeat=1s":                  "heartbeat stands there 2 times",
		"last_event_id=1&last_event_id=2":            "last_event_id stands there 2 times",
		"topic=" + strings.Repeat("%23", 9):          "topic: topic filter",
		"device_id=" + strings.Repeat("x", 5000):     "characters",
		"topic=" + strings.Repeat("x", 5000) + "%2B": "beside other characters",
		"device_id=%zz":                              "malformed",
		"device_id=a;b=c":                            "malformed",
	} {
		res, err := http.Get("http://" + g.Addr().String() + "/a?" + query)
		if err != nil {
			t.Fatal(err)
		}
		text := make([]byte, 1000)
		n, _ := res.Body.Read(text)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(text[:n]), want) || n > 500 {
			t.Errorf("%.50s: %d %s, want %q in at most 500 bytes", query, res.StatusCode, text[:n], want)
		}
	}
	observed.waitFor(t, "main/a 400 query")

	p := watchFrom(t, g, "/a?device_id=pump", "")
	p.read()
	for text, want := range map[string]string{
		`{"watch":{"device_ids":["a/b"]}}`:          `device_ids \"a/b\" holds`,
		`{"watch":{"devices":["a"]}}`:               `no field \"devices\"`,
		`{"watch":{"Device_IDs":["a"]}}`:            `no field`,
		`{"watch":{"topics":["a/#/b"]}}`:            `topics: topic filter`,
		`{"watch":{"device_ids":"a"}}`:              `device_ids of watch must be a list of strings`,
		`{"watch":{"device_ids":[1]}}`:              `device_ids of watch must be a list of strings`,
		`{"watch":{"device_ids":[null]}}`:           `device_ids is empty`,
		`{"watch":{"topics":null,"device_ids":[]}}`: `watch has lists, and nothing in them`,
		`{"watch":{"device_ids":[]}}`:               `nothing in them`,
		`{"watch":{"device_ids":[],"topics":[]}}`:   `nothing in them`,
		`{"watch":[]}`:                              `watch must be an object`,
		`{"watch":null}`:                            `watch must be an object`,
		`{"watch":"boiler"}`:                        `watch must be an object`,
		`["watch"]`:                                 `watch must be an object`,
		`{"watch":`:                                 `malformed JSON`,
		"{\n\"watch\" : {}} x":                      `malformed JSON`,
		`{"id":1,"watch":{]}`:                       `malformed JSON`,
		`{"watch":{"topics":["` + strings.Repeat(strings.Repeat("x/", 90)+`","`, 200) + `x"]}}`: `bytes that they may have together`,
		`{"watch":{"device_ids":["` + strings.Repeat(`x","`, maxWatched) + `"]}}`:               `may be`,
		`{"watch":{"` + strings.Repeat("x", 5000) + `":[]}}`:                                    `no field`,
		`{"watch":{"device_ids":["` + strings.Repeat("x", 5000) + `"]}}`:                        `characters`,
	} {
		p.watch(text)
		got := p.read()
		if !strings.HasPrefix(got, `{"messages":[],"error":{"code":"watch","message":"`) || !strings.Contains(got, want) || len(got) > 500 || strings.Contains(got, "json:") {
			t.Errorf("%.50s: %s, want %s in at most 500 bytes", text, got, want)
		}
	}
	observed.waitFor(t, "main/a watched false")
	send(g.Routes()["/a"], reading(1, boiler, events))
	send(g.Routes()["/a"], reading(2, pump, alarm))
	p.gets("2") // its choice is as it was
}

// TestNotHonoured: what a route cannot do is refused, and what clients ask for wherever
// they are is harmless.
func TestNotHonoured(t *testing.T) {
	g, observed := start(t, func(c *Config) {
		c.Routes[1].Handlers.Connect = func(context.Context, *Request) (Answer, error) { return Answer{}, nil }
		c.Routes[1].Handlers.Timeout = time.Second
	})
	get := func(path string) (status int, text string) {
		res, err := http.Get("http://" + g.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		all, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(all)
	}
	for query, field := range map[string]string{
		"device_id=boiler": "watch", "topic=a": "watch", "interval=1s": "watch",
		"rewind=5m": "history", "rewind=0s&device_id": "watch",
	} {
		name, _, _ := strings.Cut(query, "=")
		if status, text := get("/a?" + query); status != http.StatusBadRequest || !strings.Contains(text, "needs "+field) || field == "history" && !strings.HasPrefix(text, name) {
			t.Errorf("%s: %d %s, want the field %s", query, status, text, field)
		}
		if status, text := get("/b/c?" + query); status != http.StatusUpgradeRequired { // it may be for on_connect
			t.Errorf("%s beside on_connect: %d %s", query, status, text)
		}
	}
	observed.waitFor(t, "main/a 400 query")
	for _, query := range []string{"latest=true", "latest=false", "heartbeat=1s", "last_event_id=", "room=7&room=8"} {
		if status, text := get("/a?" + query); status != http.StatusUpgradeRequired {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
	watchFrom(t, g, "/a?last_event_id=1&latest=true", "").wants(`{"messages":[],"gap":{"reason":"history"}}`)
}

// TestBrokenChoicesBesideOnMessage: a message that can be nothing but a choice does not
// reach the handler, though it is broken. Others that speak of watch do.
func TestBrokenChoicesBesideOnMessage(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		live(c)
		c.Routes[0].Handlers.Timeout = time.Second
		c.Routes[0].Handlers.Message = func(_ context.Context, _ *Connection, m Message) ([]Message, error) {
			return []Message{{Text: true, Data: append([]byte("handled "), m.Data...)}}, nil
		}
	})
	p := watchFrom(t, g, "/a", "")
	p.watch(`{"watch":{`)
	if got := p.read(); !strings.Contains(got, "malformed JSON") {
		t.Errorf("got %s", got)
	}
	for _, text := range []string{`{"command":"stop","watch`, `say "watch"`, `["watch"]`, `{"of":{"watch":{}}}`} {
		p.watch(text)
		p.wants("handled " + text)
	}
}
