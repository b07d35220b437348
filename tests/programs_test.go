package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// What programs choose, the gateway gives, and no more. Payloads are JSON where
// they can be: 0077 is none.
func TestProgramsLive(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launchWithHistory("max_messages: 1000 }, watch: {", strings.Replace(trigger(b, "broker_id: factory", ""), "iot_trigger: {}", "iot_trigger: { payload_format: json }", 1))
	for name, follow := range programs {
		t.Run(name, func(t *testing.T) {
			f := follow(t, "", "", cast.url("/telemetry"), `, "topics": ["hall/#"], "heartbeat": 1000, "payload_format": "json"`)
			f.wait("open", 1)
			f.wait("watching", 1)
			b.publish(1, message{topic: "yard/gate", payload: []byte("7")})
			b.publish(1, numbers(0, 4)...)
			f.wait("message", 5)
			f.mustTell("0-4")
			if _, err := io.WriteString(f.stdin, `{"topics":["yard/#"]}`+"\n"); err != nil {
				t.Fatal(err)
			}
			f.wait("watching", 2)
			b.publish(1, numbers(5, 9)...)
			b.publish(1, message{topic: "yard/gate", payload: []byte("0077")})
			f.wait("message", 6)
			f.mustTell("0-4 77")
			if _, err := io.WriteString(f.stdin, `{"topics":["a/#/b"]}`+"\n"); err != nil {
				t.Fatal(err)
			}
			f.wait("choice_refused", 1)
			if f.count("waiting") > 0 {
				t.Errorf("%+v", f.told())
			}
		})
	}
}

// programs are the makes of a client for programs.
var programs = map[string]func(t *testing.T, page, module, url, options string) *feed{
	"go": func(t *testing.T, _, _, url, options string) *feed {
		return startFeed(t, "go", exec.Command(goFeed, url, "{"+quick+options+"}"))
	},
	"python": func(t *testing.T, _, _, url, options string) *feed {
		return startFeed(t, "python", exec.Command(python, "clients/feed.py", url, "{"+quick+options+"}"))
	},
}

// A program puts a token of its own into the header of each attempt, and ends
// when the gateway refuses for good.
func TestProgramsTokens(t *testing.T) {
	t.Parallel()
	for name, follow := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startFakeGateway(t)
			said := func(token string) func() string { return func() string { return token } }
			f := follow(t, g.addr, g.addr, "ws://"+g.addr+"/telemetry?room=7", g.giveTokens(said("a"), said("b")))
			f.wait("open", 1)
			g.waitConnection()
			g.closeAll(4401, "token_expired")
			f.wait("open", 2)
			if got, want := g.authorizations(), []string{"Bearer a", "Bearer b"}; !slices.Equal(got, want) {
				t.Errorf("Authorization %q, want %q", got, want)
			}
			queries, _ := g.handshakes()
			for _, q := range queries {
				if q.Get("room") != "7" || q.Has("access_token") {
					t.Errorf("query %v, want room and no token", q)
				}
			}
			if _, err := io.WriteString(f.stdin, "close\n"); err != nil {
				t.Fatal(err)
			}
			f.wait("closed", 1)

			f = follow(t, g.addr, g.addr, "ws://"+g.addr+"/telemetry", "")
			f.wait("open", 1)
			g.waitConnection()
			g.closeAll(4401, "token_expired") // and there is no other
			f.wait("refused", 1)
			for _, status := range []int{400, 401, 403, 404} {
				f := follow(t, g.addr, g.addr, fmt.Sprintf("ws://%s/refused/%d", g.addr, status), "")
				f.wait("refused", 1)
				if told := f.told(); len(told) != 1 || told[0].Code != status {
					t.Errorf("told %+v, want %d", told, status)
				}
			}
		})
	}
}

// A link is dead that has sent signs of life, and then sends none.
func TestProgramsHeartbeat(t *testing.T) {
	t.Parallel()
	for name, follow := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startFakeGateway(t)
			n := startProxy(t, g.addr)
			f := follow(t, g.addr, g.addr, "ws://"+n.Addr()+"/telemetry", `, "heartbeat": 400`)
			f.wait("open", 1)
			g.waitConnection()
			g.publish(5)
			g.send(`{"messages":[]}`)
			f.wait("message", 5)
			n.Forget()
			g.publish(5) // into the void
			f.wait("message", 10)
			f.mustTell("0-9")
			queries, _ := g.handshakes()
			if d, err := time.ParseDuration(queries[0].Get("heartbeat")); err != nil || d != 400*time.Millisecond {
				t.Errorf("heartbeat=%s, want 400ms", queries[0].Get("heartbeat"))
			}
		})
	}
}

// A choice is made anew without a connection, and the next connection asks for the newest.
func TestProgramsChoose(t *testing.T) {
	t.Parallel()
	for name, follow := range programs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startFakeGateway(t)
			f := follow(t, g.addr, g.addr, "ws://"+g.addr+"/telemetry", `, "device_ids": ["boiler", "pump"], "topics": ["#"]`)
			f.wait("open", 1)
			g.waitConnection()
			if _, err := io.WriteString(f.stdin, `{"device_ids":["press"]}`+"\n"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the choice has come", func() bool {
				var said struct {
					Watch map[string][]string `json:"watch"`
				}
				texts := g.texts()
				return len(texts) == 1 && json.Unmarshal([]byte(texts[0]), &said) == nil &&
					len(said.Watch) == 1 && slices.Equal(said.Watch["device_ids"], []string{"press"})
			})
			g.send(`{"messages":[],"watch":{"device_ids":["press"],"topics":[]}}`)
			g.send(`{"messages":[],"error":{"code":"watch","message":"no"}}`)
			f.wait("watching", 1)
			f.wait("choice_refused", 1)
			g.closeAll(websocket.StatusServiceRestart, "restart")
			f.wait("open", 2)
			queries, _ := g.handshakes()
			if q := queries[0]; !slices.Equal(q["device_id"], []string{"boiler", "pump"}) || !slices.Equal(q["topic"], []string{"#"}) {
				t.Errorf("asked for %v at first", q)
			}
			if q := queries[1]; !slices.Equal(q["device_id"], []string{"press"}) || q.Has("topic") {
				t.Errorf("asked for %v then", q)
			}
			// What was chosen without a connection, and is wrong, is given up.
			g.deny(http.StatusServiceUnavailable)
			g.closeAll(websocket.StatusServiceRestart, "restart")
			f.wait("waiting", 2)
			if _, err := io.WriteString(f.stdin, `{"topics":["a/#/b"]}`+"\n"); err != nil {
				t.Fatal(err)
			}
			g.waitDenied("topic")
			g.deny(http.StatusBadRequest)
			f.wait("choice_refused", 2)
			g.deny(0)
			f.wait("open", 3)
			queries, _ = g.handshakes()
			if q := queries[len(queries)-1]; !slices.Equal(q["device_id"], []string{"press"}) || q.Has("topic") {
				t.Errorf("asked for %v at last", q)
			}
		})
	}
}
