package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// feed is iotcast's own client, and what its handlers were told.
type feed struct {
	*process
	t     *testing.T
	name  string
	stdin io.WriteCloser

	mu     sync.Mutex
	events []feedEvent
}

// feedEvent is what the programs print, one a line.
type feedEvent struct {
	Tab     string `json:"tab"`   // where one program has many
	Event   string `json:"event"` // message, gap, watch or watching, error, choice_refused, refused, or the state
	ID      string `json:"id"`
	Text    string `json:"text"`
	Reason  string `json:"reason"`
	Dropped int    `json:"dropped"`
	Code    int    `json:"code"`
	Status  int    `json:"status"`
}

// quick are options for tests: nobody waits for seconds.
const quick = `"backoff": { "min": 50, "max": 200 }`

// followers are the makes of a client for pages: each gets the hosts of the page and of the
// module, the URL of the route, and more options in JSON.
var followers = map[string]func(t *testing.T, page, module, url, options string) *feed{
	"node": func(t *testing.T, _, _, url, options string) *feed {
		return startFeed(t, "node", exec.Command(toolPath("node"), "clients/feed.mjs", url, "{"+quick+options+"}"))
	},
	"chromium": func(t *testing.T, page, module, url, options string) *feed {
		return startFeed(t, "chromium", exec.Command(toolPath("node"), "clients/feedpage.mjs",
			toolPath("chromium"), "http://"+page+"/", "http://"+module+"/iotcast.js", url, "{"+quick+options+"}"))
	},
}

// everyone is all of them: they tell the same story.
func everyone() map[string]func(t *testing.T, page, module, url, options string) *feed {
	all := maps.Clone(followers)
	maps.Copy(all, programs)
	return all
}

func startFeed(t *testing.T, name string, cmd *exec.Cmd) *feed {
	t.Helper()
	p, stdin, events := converse(t, name, cmd)
	f := &feed{process: p, t: t, name: name, stdin: stdin}
	go func() {
		in := bufio.NewScanner(events)
		in.Buffer(nil, 1<<20)
		for in.Scan() {
			f.add(readFeedEvent(in.Bytes()))
		}
	}()
	return f
}

func readFeedEvent(line []byte) (e feedEvent) {
	if err := json.Unmarshal(line, &e); err != nil {
		return feedEvent{Event: "error", Text: fmt.Sprintf("unreadable line %.200q: %v", line, err)}
	}
	return e
}

func (f *feed) add(e feedEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
}

// told is what has happened so far; failures of the program end the test.
func (f *feed) told() []feedEvent {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.Event == "error" {
			f.t.Fatalf("%s: %s", f.name, e.Text)
		}
	}
	return slices.Clone(f.events)
}

// wait waits until there are n events of this name.
func (f *feed) wait(event string, n int) {
	f.t.Helper()
	eventuallyWithin(f.t, time.Minute, fmt.Sprintf("%s: %d times %q", f.name, n, event), func() bool { return f.count(event) >= n })
}

func (f *feed) count(event string) (n int) {
	f.t.Helper()
	for _, e := range f.told() {
		if e.Event == event {
			n++
		}
	}
	return n
}

// story is the messages and gaps, in order: "0-4 history 7" is messages 0 to 4,
// a gap, and message 7.
func (f *feed) story() string {
	f.t.Helper()
	var parts []string
	first, last := -1, -1
	flush := func() {
		switch {
		case first < 0:
		case first == last:
			parts = append(parts, strconv.Itoa(first))
		default:
			parts = append(parts, fmt.Sprintf("%d-%d", first, last))
		}
		first = -1
	}
	for _, e := range f.told() {
		switch e.Event {
		case "message":
			n, err := strconv.Atoi(e.Text)
			if err != nil {
				f.t.Fatalf("%s: payload %q, want a number", f.name, e.Text)
			}
			if first >= 0 && n != last+1 {
				flush()
			}
			if first < 0 {
				first = n
			}
			last = n
		case "gap":
			flush()
			parts = append(parts, e.Reason)
			if e.Dropped > 0 {
				parts = append(parts, fmt.Sprintf("(%d)", e.Dropped))
			}
		}
	}
	flush()
	return strings.Join(parts, " ")
}

func (f *feed) mustTell(want string) {
	f.t.Helper()
	if got := f.story(); got != want {
		f.t.Errorf("%s: got %q, want %q", f.name, got, want)
	}
}

// The network is cut again and again, and comes back: neither gap nor repeat.
func TestFeedResumes(t *testing.T) {
	t.Parallel()
	for name, follow := range everyone() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startFakeGateway(t)
			n := startProxy(t, g.addr)
			g.publish(3) // before it came: not for this client
			f := follow(t, g.addr, g.addr, "ws://"+n.Addr()+"/telemetry", "")
			f.wait("open", 1)
			g.waitConnection()
			total := 0
			const cuts = 5
			for i := range cuts {
				g.publish(100)
				total += 100
				f.wait("message", total-50) // in the middle of them
				n.Cut()
				f.wait("waiting", 2*i+2) // one attempt at least fails
				g.publish(50)
				total += 50
				n.Mend()
				f.wait("message", total)
				f.wait("open", i+2)
			}
			f.mustTell(fmt.Sprintf("3-%d", total+2))
			queries, _ := g.handshakes()
			if got := queries[0].Get("last_event_id"); got != "" {
				t.Errorf("the first handshake resumes from %q", got)
			}
			for _, q := range queries[1:] {
				if q.Get("last_event_id") == "" {
					t.Error("a later handshake resumes from nothing")
				}
			}
		})
	}
}

// What the gateway tells of missing messages reaches the page before what comes
// after them, and what it sends twice does not reach it twice.
func TestFeedGaps(t *testing.T) {
	t.Parallel()
	for name, follow := range everyone() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startFakeGateway(t)
			f := follow(t, g.addr, g.addr, "ws://"+g.addr+"/telemetry", "")
			f.wait("open", 1)
			g.waitConnection()
			g.closeAll(websocket.StatusServiceRestart, "restart") // before any message
			g.waitConnection()
			f.wait("open", 2)
			g.publish(3)
			g.send(`{"messages":[],"gap":{"reason":"slow_consumer","dropped":12}}`)
			g.publish(2)
			f.wait("message", 5)

			g.refuse(3)
			g.closeAll(websocket.StatusServiceRestart, "restart")
			g.publish(2)
			g.forget()
			f.wait("open", 3)
			g.waitConnection()
			g.send(`{"messages":[` + numbered(3) + `,` + numbered(4) + `]}`) // a broker that delivers again
			g.publish(2)
			f.wait("message", 7)
			f.mustTell("no_event_id 0-2 slow_consumer (12) 3-4 history 7-8")

			for _, e := range f.told() {
				if e.Event == "waiting" && e.Code != 1012 && e.Code != 1006 { // 1006: refused
					t.Errorf("close code %d, want 1012 or 1006", e.Code)
				}
			}
		})
	}
}

// A connection that is dead without a word is found out by its silence.
func TestFeedSilence(t *testing.T) {
	t.Parallel()
	for name, follow := range followers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startFakeGateway(t)
			n := startProxy(t, g.addr)
			f := follow(t, g.addr, g.addr, "ws://"+n.Addr()+"/telemetry", `, "silence": 1000`)
			f.wait("open", 1)
			g.waitConnection()
			g.publish(5)
			f.wait("message", 5)
			n.Forget()
			g.publish(5) // into the void
			f.wait("message", 10)
			f.mustTell("0-9")
		})
	}
}

// A connection that is dead without a word is found out by default, once the gateway
// has shown that it sends heartbeats.
func TestFeedHeartbeat(t *testing.T) {
	t.Parallel()
	for name, follow := range followers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startFakeGateway(t)
			n := startProxy(t, g.addr)
			f := follow(t, g.addr, g.addr, "ws://"+n.Addr()+"/telemetry", `, "heartbeat": 1000`)
			f.wait("open", 1)
			g.waitConnection()
			if queries, _ := g.handshakes(); queries[0].Get("heartbeat") != "1s" {
				t.Errorf("the handshake asks for heartbeat=%s, want 1s", queries[0].Get("heartbeat"))
			}
			g.publish(5)
			g.send(`{"messages":[]}`)
			f.wait("message", 5)
			n.Forget()
			g.publish(5) // into the void
			f.wait("message", 10)
			f.mustTell("0-9")
		})
	}
}

// A refusal that will not change ends the feed, though a page cannot see the status
// of a handshake.
func TestFeedRefused(t *testing.T) {
	t.Parallel()
	for name, follow := range followers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startFakeGateway(t)
			f := follow(t, g.addr, g.addr, "ws://"+g.addr+"/telemetry", "")
			f.wait("open", 1)
			g.waitConnection()
			g.publish(1)
			f.wait("message", 1)
			g.refuse(1)
			g.closeAll(websocket.StatusServiceRestart, "restart")
			f.wait("open", 2) // 503 may change
			g.waitConnection()
			g.deny(403)
			g.closeAll(websocket.StatusServiceRestart, "restart")
			f.wait("closed", 1)
			if last := f.told()[len(f.told())-1]; last.Event != "closed" || last.Status != 403 {
				t.Errorf("%s: it ended by %+v, want closed by the status 403", name, last)
			}
			f.mustTell("0")
		})
	}
}

// A new choice goes over the connection that is open, and with the next handshake;
// one that is refused goes nowhere.
func TestFeedWatch(t *testing.T) {
	t.Parallel()
	for name, follow := range followers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startFakeGateway(t)
			f := follow(t, g.addr, g.addr, "ws://"+g.addr+"/telemetry", "")
			f.wait("open", 1)
			g.waitConnection()
			for i, choice := range []string{`{"device_ids":["boiler"]}`, `{"topics":["a"]}`} {
				if _, err := io.WriteString(f.stdin, choice+"\n"); err != nil {
					t.Fatal(err)
				}
				f.wait("watch", i+1)
			}
			if got, want := g.choices(), []string{`{"watch":{"device_ids":["boiler"]}}`, `{"watch":{"topics":["a"]}}`}; !slices.Equal(got, want) {
				t.Errorf("the gateway got %q, want %q", got, want)
			}
			var answers []string
			for _, e := range f.told() {
				if e.Event == "watch" {
					answers = append(answers, e.Text+e.Reason)
				}
			}
			if want := []string{`{"device_ids":["boiler"]}`, "no topics here"}; !slices.Equal(answers, want) {
				t.Errorf("the page got %q, want %q", answers, want)
			}
			g.closeAll(websocket.StatusServiceRestart, "restart")
			f.wait("open", 2)
			queries, _ := g.handshakes()
			if last := queries[len(queries)-1]; !slices.Equal(last["device_id"], []string{"boiler"}) || last.Has("topic") {
				t.Errorf("the next handshake asks for %v, want the device boiler", last)
			}
		})
	}
}

// Each attempt asks for a token of its own, and the feed ends when it is told to.
func TestFeedTokens(t *testing.T) {
	t.Parallel()
	for name, follow := range followers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startFakeGateway(t)
			said := func(token string) func() string { return func() string { return token } }
			f := follow(t, g.addr, g.addr, "ws://"+g.addr+"/telemetry?room=7", g.giveTokens(said("a&b"), said("c"), said("d")))
			for i := range 3 {
				f.wait("open", i+1)
				g.waitConnection()
				if i < 2 {
					g.closeAll(4401, "token_expired")
				}
			}
			queries, _ := g.handshakes()
			for i, want := range []string{"a&b", "c", "d"} {
				if got := queries[i].Get("access_token"); got != want || queries[i].Get("room") != "7" {
					t.Errorf("handshake %d: query %v, want the token %q", i, queries[i], want)
				}
			}
			if _, err := io.WriteString(f.stdin, "close\n"); err != nil {
				t.Fatal(err)
			}
			f.wait("closed", 1)
			g.waitClosed(websocket.StatusNormalClosure)

			f = follow(t, g.addr, g.addr, "ws://"+g.addr+"/telemetry", g.giveTokens(said("e.f-g_h"))+`, "subprotocolPrefix": "bearer.", "protocols": ["iotcast"]`)
			f.wait("open", 1)
			queries, offers := g.handshakes()
			if got, want := offers[3], []string{"iotcast", "bearer.e.f-g_h"}; !slices.Equal(got, want) {
				t.Errorf("subprotocols %q, want %q", got, want)
			}
			if queries[3].Has("access_token") {
				t.Error("the token is in the query as well")
			}
		})
	}
}
