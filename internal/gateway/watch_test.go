package gateway

import (
	"encoding/json"
	"fmt"
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
	_, _ = r.Broadcast(fanout.Message{Opcode: fanout.Text, Payload: text, ID: readings[len(readings)-1].EventID})
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
	r := g.Routes()["/a"]
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
		_, _ = r.Broadcast(fanout.Message{Opcode: fanout.Text, Payload: []byte(text)})
		one.wants(text)
	}
	filter.gets("6")
	send(r, reading(9, pump, alarm))
	filter.gets("9")
}

// TestWatchWithinClaim: what the token does not allow is never sent, whatever a client
// asks for, in the URL or by a message.
func TestWatchWithinClaim(t *testing.T) {
	g, observed := start(t, func(c *Config) {
		live(c)
		c.Routes[0].Events = true
		c.Routes[0].Watch.Claim = "devices"
		c.Routes[0].Tokens = &Tokens{Verifier: verifier(t), Optional: true}
		c.Routes[0].Latest = fanout.Latest{MaxKeys: 100}
	})
	r := g.Routes()["/a"]
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

func TestWatchRequired(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		live(c)
		c.Routes[0].Watch.Required = true
		c.Routes[0].Latest = fanout.Latest{MaxKeys: 100}
	})
	r := g.Routes()["/a"]
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

// TestResumeWhatIsWatched: a client goes on in the middle of an envelope. What does not
// concern it is passed over.
func TestResumeWhatIsWatched(t *testing.T) {
	g, _ := start(t, live)
	r := g.Routes()["/a"]
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
	r := g.Routes()["/a"]
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
	send(g.Routes()["/a"], reading(1, pump, alarm), reading(2, boiler, events))
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
		r := g.Routes()[path]
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
