package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/fanout"
)

// reading is a message whose event ID is its number.
func reading(n int, device, topic string) envelope.Message {
	return envelope.Message{
		EventID: fmt.Sprint(n), EventType: envelope.DefaultEventType, CreatedAt: time.Unix(int64(n), 0),
		RegistryID: "plant", DeviceID: device, Topic: topic, Payload: []byte("1"),
	}
}

// send broadcasts an envelope, which it returns.
func send(r *Route, readings ...envelope.Message) string {
	text := envelope.AppendEnvelope(nil, envelope.DeviceFormat, readings)
	r.Broadcast(fanout.Message{Opcode: fanout.Text, Payload: text, ID: readings[len(readings)-1].EventID})
	return string(text)
}

// page is a client that watches.
type page struct {
	*testing.T
	ws *websocket.Conn
}

func watchFrom(t *testing.T, g *Gateway, path, token string) *page {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://"+g.Addr().String()+path, bearer(token))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &page{t, ws}
}

func (p *page) read() string {
	p.Helper()
	_, data, err := p.ws.Read(p.Context())
	if err != nil {
		p.Fatal(err)
	}
	return string(data)
}

func (p *page) wants(want string) {
	p.Helper()
	if got := p.read(); got != want {
		p.Fatalf("got %s\nwant %s", got, want)
	}
}

// gets expects an envelope of the messages with these event IDs.
func (p *page) gets(ids ...string) {
	p.Helper()
	var doc struct {
		Messages []struct {
			Metadata struct {
				EventID string `json:"event_id"`
			} `json:"event_metadata"`
		} `json:"messages"`
	}
	text := p.read()
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		p.Fatalf("%s: %v", text, err)
	}
	var got []string
	for _, m := range doc.Messages {
		got = append(got, m.Metadata.EventID)
	}
	if fmt.Sprint(got) != fmt.Sprint(ids) {
		p.Fatalf("got %s\nwant the messages %s", text, ids)
	}
}

func (p *page) watch(text string) {
	p.Helper()
	if err := p.ws.Write(p.Context(), websocket.MessageText, []byte(text)); err != nil {
		p.Fatal(err)
	}
}

const (
	boiler = "boiler"
	pump   = "pump"
	events = "$devices/boiler/events"
	alarm  = "$devices/pump/events/alarm"
)

func live(c *Config) {
	c.Routes[0].Watch = new(Watch)
	c.Routes[0].History.Bounds.MaxMessages = 100
	c.Routes[0].Compression = true
}

func TestWatch(t *testing.T) {
	g, observed := start(t, live)
	r := g.routes["/a"]
	all := watchFrom(t, g, "/a", "")
	one := watchFrom(t, g, "/a?device_id=boiler,nobody", "")
	filter := watchFrom(t, g, "/a?topic="+url.QueryEscape("$devices/+/events/alarm/#"), "")
	one.wants(`{"messages":[],"watch":{"device_ids":["boiler","nobody"],"topics":[]}}`)
	filter.wants(`{"messages":[],"watch":{"device_ids":[],"topics":["$devices/+/events/alarm/#"]}}`)

	all.wants(send(r, reading(1, boiler, events), reading(2, pump, alarm), reading(3, boiler, events)))
	one.gets("1", "3")
	filter.gets("2")
	alone := send(r, reading(4, boiler, events))
	one.wants(alone) // byte for byte
	all.wants(alone)

	// A new choice, without a reconnection; then everything.
	one.watch(`{"watch":{"device_ids":["pump"],"topics":["` + events + `"]}}`)
	one.wants(`{"messages":[],"watch":{"device_ids":["pump"],"topics":["` + events + `"]}}`)
	send(r, reading(5, boiler, "elsewhere"), reading(6, pump, alarm), reading(7, "", events))
	one.gets("6", "7")
	one.watch(`{"watch":{"device_ids":null,"topics":null}}`)
	one.wants(`{"messages":[],"watch":{}}`)
	send(r, reading(8, "other", "elsewhere"))
	one.gets("8")
	observed.waitFor(t, "main/a watched true")

	// What is no envelope goes to those only who get everything.
	for _, text := range []string{"no JSON", `{"messages":[{"details":{"device_id":"pump","device_id":"x"}}]}`} {
		r.Broadcast(fanout.Message{Opcode: fanout.Text, Payload: []byte(text)})
		one.wants(text)
	}
	filter.gets("6")
	send(r, reading(9, pump, alarm))
	filter.gets("9")
}

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
	send(g.routes["/a"], reading(1, boiler, events))
	send(g.routes["/a"], reading(2, pump, alarm))
	p.gets("2") // its choice is as it was
}

// TestWatchWithinClaim: what the token does not allow is never sent, whatever is asked
// for, and by whichever way.
func TestWatchWithinClaim(t *testing.T) {
	g, observed := start(t, func(c *Config) {
		live(c)
		c.Routes[0].Events = true
		c.Routes[0].Watch.Claim = "devices"
		c.Routes[0].Tokens = &Tokens{Verifier: verifier(t), Optional: true}
		c.Routes[0].Latest = fanout.Latest{MaxKeys: 100}
	})
	r := g.routes["/a"]
	token := func(devices any) string {
		return sign(t, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "devices": devices})
	}
	own := token([]string{boiler, "$devices/pump/state/#"})
	send(r, reading(1, boiler, events), reading(2, pump, alarm), reading(3, pump, "$devices/pump/state"))
	for _, query := range []string{
		"", "?topic=%23", "?topic=%23,$devices/%23", "?device_id=boiler,pump,other", "?rewind=1h", "?last_event_id=unknown", "?last_event_id=unknown&latest=false",
	} {
		p := watchFrom(t, g, "/a"+query, own)
		id := fmt.Sprintf("%d", time.Now().UnixNano())
		send(r, reading(4, pump, alarm), reading(5, "other", "x"), envelope.Message{EventID: id, DeviceID: boiler, Topic: events})
		for text := ""; !strings.Contains(text, id); {
			text = p.read()
			for _, foreign := range []string{alarm, "other\"", `"event_id":"2"`} {
				if strings.Contains(text, foreign) && !strings.Contains(text, `"watch"`) {
					t.Fatalf("%s: got %s", query, text)
				}
			}
			if query == "?topic=%23" && strings.Contains(text, `"watch"`) {
				break // # covers no topic that begins with $
			}
		}
	}
	p := watchFrom(t, g, "/a?latest=false", own)
	p.watch(`{"watch":{"device_ids":["other"],"topics":["$devices/+/state"]}}`)
	p.wants(`{"messages":[],"watch":{"device_ids":["other"],"topics":["$devices/+/state"]}}`)
	send(r, reading(7, "other", "x"), reading(8, pump, alarm), reading(9, boiler, events), reading(10, "other", "$devices/other/state"))
	send(r, reading(11, boiler, "$devices/boiler/state"))
	for text := p.read(); !strings.Contains(text, `"event_id":"11"`); text = p.read() {
		if !strings.Contains(text, `"event_id":"3"`) { // the newest of the pump's state
			t.Fatalf("got %s", text)
		}
	}

	for name, raw := range map[string]string{
		"none": sign(t, jwt.MapClaims{"sub": "x"}), "no filter": token([]string{"a/#/b"}), "no ID": token([]string{strings.Repeat("x", 60)}), "anonymous": "",
		"null": token(nil), "number": token(5), "true": token(true), "object": token(map[string]any{"boiler": true}), "mixed": token([]any{boiler, 5}), "nested": token([]any{[]any{boiler}}),
		"empty entry": token([]string{boiler, ""}),
	} {
		options := bearer(raw)
		if raw == "" {
			options = nil
		}
		_, res, err := websocket.Dial(t.Context(), "ws://"+g.Addr().String()+"/a", options)
		if err == nil || res.StatusCode != http.StatusForbidden {
			t.Errorf("claim %s: %v", name, err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.Addr().String()+"/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", eventStreamType)
		if raw != "" {
			req.Header.Set("Authorization", "Bearer "+raw)
		}
		if res, err = http.DefaultTransport.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("claim %s, events: %s", name, res.Status)
		}
	}
	observed.waitFor(t, "main/a 403 token_watch")
	words := watchFrom(t, g, "/a?latest=false", token("boiler pump")) // as scope has it
	words.watch(`{"watch":{}}`)
	words.wants(`{"messages":[],"watch":{"device_ids":["boiler","pump"],"topics":[]}}`)
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
	for query, field := range map[string]string{"device_id=boiler": "watch", "topic=a": "watch", "interval=1s": "watch", "rewind=5m": "history", "rewind=0s&device_id": "watch"} {
		name, _, _ := strings.Cut(query, "=")
		if status, text := get("/a?" + query); status != http.StatusBadRequest || !strings.Contains(text, "route has "+field) || field == "history" && !strings.HasPrefix(text, name) {
			t.Errorf("%s: %d %s, want the route's field %s", query, status, text, field)
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

// TestBrokenChoicesBesideOnMessage: what can be for nothing but a choice does not reach
// the handler, though it is broken; what else speaks of watch does.
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

func TestWatchRequired(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		live(c)
		c.Routes[0].Watch.Required = true
		c.Routes[0].Latest = fanout.Latest{MaxKeys: 100}
	})
	r := g.routes["/a"]
	send(r, reading(1, boiler, events), reading(2, pump, alarm))
	p := watchFrom(t, g, "/a?last_event_id=1", "")
	send(r, reading(3, boiler, events))
	p.watch(`{"watch":{}}`)
	if got := p.read(); !strings.Contains(got, "error") {
		t.Fatalf("got %s", got)
	}
	p.watch(`{"watch":{"device_ids":["pump"]}}`)
	p.wants(`{"messages":[],"watch":{"device_ids":["pump"],"topics":[]}}`)
	p.gets("2") // the newest
	send(r, reading(4, boiler, events), reading(5, pump, alarm))
	p.gets("5")
}

// TestResumeWhatIsWatched: a client goes on in the middle of an envelope, and what does
// not concern it is passed over.
func TestResumeWhatIsWatched(t *testing.T) {
	g, _ := start(t, live)
	r := g.routes["/a"]
	send(r, reading(1, boiler, events), reading(2, pump, alarm), reading(3, boiler, events), reading(4, pump, alarm))
	send(r, reading(5, boiler, events))
	send(r, reading(6, pump, alarm))
	p := watchFrom(t, g, "/a?device_id=pump&last_event_id=2", "")
	p.read()
	p.gets("4")
	p.gets("6")
	all := watchFrom(t, g, "/a?last_event_id=3", "")
	all.gets("4")
	all.gets("5")
	rewound := watchFrom(t, g, "/a?device_id=boiler&rewind=1h", "")
	rewound.read()
	rewound.gets("1", "3")
	rewound.gets("5")
	send(r, reading(7, boiler, events))
	rewound.gets("7")
	all.gets("6")
	all.gets("7")
}

func TestLatest(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		live(c)
		c.Routes[0].Latest = fanout.Latest{MaxKeys: 3}
	})
	r := g.routes["/a"]
	send(r, reading(1, "a", "x"), reading(2, boiler, events), reading(3, pump, alarm), reading(4, boiler, events), reading(5, "", "x"))
	p := watchFrom(t, g, "/a", "")
	p.gets("1", "3", "4")
	one := watchFrom(t, g, "/a?device_id=boiler", "")
	one.read()
	one.gets("4")
	without := watchFrom(t, g, "/a?latest=false", "")
	send(r, reading(6, "b", "x"))
	p.gets("6")
	without.gets("6")
	watchFrom(t, g, "/a", "").gets("3", "4", "6") // three keys at most
	gone := reading(7, pump, alarm)
	gone.Payload = nil
	send(r, gone)
	watchFrom(t, g, "/a", "").gets("4", "6")

	// What is resumed has no need of it; what cannot be has.
	resumed := watchFrom(t, g, "/a?last_event_id=6", "")
	resumed.gets("7")
	lost := watchFrom(t, g, "/a?last_event_id=unknown", "")
	lost.wants(`{"messages":[],"gap":{"reason":"history"}}`)
	lost.gets("4", "6")
}

// TestLatestAtAnInterval: holding messages back takes nothing from the last values.
func TestLatestAtAnInterval(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		c.Routes[0].MinInterval = time.Hour
		c.Routes[0].Latest = fanout.Latest{MaxKeys: 3}
	})
	send(g.routes["/a"], reading(1, pump, alarm), reading(2, boiler, events))
	watchFrom(t, g, "/a", "").gets("1", "2")
}

func TestHeartbeat(t *testing.T) {
	g, _ := start(t, nil)
	p := watchFrom(t, g, "/a?heartbeat=1s", "")
	p.wants(`{"messages":[]}`)
	p.wants(`{"messages":[]}`)
}

func TestIntervals(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		live(c)
		c.Routes[0].MinInterval = 10 * time.Millisecond
		c.Routes[1].Watch = new(Watch)
	})
	const many = 500
	for path, query := range map[string]string{"/a": "", "/b/c": "?interval=20ms&device_id=pump,boiler"} {
		r := g.routes[path]
		p := watchFrom(t, g, path+query, "")
		if query != "" {
			p.read()
			p.watch(`{"watch":{}}`) // it keeps its interval
			p.wants(`{"messages":[],"watch":{}}`)
		}
		for n := range many {
			send(r, reading(n, pump, alarm))
		}
		p.gets("0")
		got := 1
		for text := ""; !strings.Contains(text, fmt.Sprintf(`"event_id":"%d"`, many-1)); got++ {
			text = p.read()
		}
		if got > many/2 {
			t.Errorf("%s: %d of %d messages came", path, got, many)
		}
	}
}
