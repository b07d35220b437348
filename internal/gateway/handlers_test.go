package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/fanout"
)

func TestOnMessage(t *testing.T) {
	var last string
	g, events := start(t, func(c *Config) {
		c.Routes[0].Handlers.Timeout = time.Second
		c.Routes[0].Handlers.Message = func(_ context.Context, c *Connection, m Message) ([]Message, error) {
			if m.ID <= last || len(c.Info().ID) != 36 {
				t.Errorf("message %q after %q", m.ID, last)
			}
			last = m.ID
			switch string(m.Data) {
			case "drop":
				return nil, nil
			case "fail":
				return nil, errors.New("no such command")
			}
			return []Message{{Text: m.Text, Data: append([]byte("you said "), m.Data...)}}, nil
		}
	})
	c := dial(t, g, "/a")
	for _, say := range []string{"one", "drop", "fail", "two"} {
		if err := c.Write(t.Context(), websocket.MessageBinary, []byte(say)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"you said one", "you said two"} {
		if kind, p, err := c.Read(t.Context()); err != nil || string(p) != want || kind != websocket.MessageBinary {
			t.Fatalf("%q %v", p, err)
		}
	}
	events.waitFor(t, "main/a failed on_message")
	events.waitFor(t, "main/a received 4")
}

func TestMessageThatBreaksOff(t *testing.T) {
	g, events := start(t, func(c *Config) {
		c.Routes[0].Handlers.Timeout = time.Second
		c.Routes[0].Handlers.Message = func(_ context.Context, _ *Connection, m Message) ([]Message, error) {
			t.Errorf("half a message is handled: %q", m.Data)
			return nil, nil
		}
	})
	half := frame(text&more, "half a message, and then ")
	converse(t, g, handshake, []byte(half), len(half))
	events.waitFor(t, "main/a connection_lost")
}

func TestOnDisconnect(t *testing.T) {
	ends := make(chan End, 1)
	g, _ := start(t, func(c *Config) {
		c.Routes[0].Handlers.Timeout = time.Second
		c.Routes[0].Handlers.Disconnect = func(_ context.Context, _ *Connection, e End) error {
			ends <- e
			return nil
		}
	})
	set := NewSet(g)
	for name, tc := range map[string]struct {
		end  func(*websocket.Conn, *Connection)
		want End
	}{
		"by the client": {func(c *websocket.Conn, _ *Connection) { _ = c.Close(4000, "") }, End{4000, reasonClient}},
		"broken off":    {func(c *websocket.Conn, _ *Connection) { _ = c.CloseNow() }, End{1006, reasonLost}},
		"by us":         {func(_ *websocket.Conn, c *Connection) { c.Disconnect() }, End{1000, reasonServer}},
	} {
		c := dial(t, g, "/a")
		all := set.Connections()
		if len(all) != 1 {
			t.Fatal(all)
		}
		found, ok := set.Connection(all[0].Info().ID)
		if !ok || found != all[0] {
			t.Fatal("not found by its ID")
		}
		c.CloseRead(t.Context())
		tc.end(c, found)
		if got := <-ends; got != tc.want {
			t.Errorf("%s: %+v", name, got)
		}
		if _, ok := set.Connection(strings.ToUpper(found.Info().ID)); ok {
			t.Error("found by another spelling of its ID")
		}
		if _, ok := set.Connection(found.Info().ID); ok {
			t.Error("found after its end")
		}
	}
}

func TestSendToOne(t *testing.T) {
	g, _ := start(t, nil)
	c := dial(t, g, "/a")
	dial(t, g, "/a")
	for _, one := range NewSet(g).Connections() {
		if err := one.Send(true, []byte(one.Info().ID)); err != nil {
			t.Fatal(err)
		}
	}
	if _, p, err := c.Read(t.Context()); err != nil || len(p) != 36 {
		t.Fatalf("%q %v", p, err)
	}
}

func TestResume(t *testing.T) {
	g, _ := start(t, func(c *Config) { c.Routes[0].History = History{Bounds: fanout.History{MaxMessages: 2}} })
	r := g.Routes()["/a"]
	for i := range 4 {
		_, _ = r.Broadcast(fanout.Message{Opcode: fanout.Text, Payload: fmt.Append(nil, i), ID: fmt.Sprint("id", i)})
	}
	for from, want := range map[string]string{
		"?last_event_id=id1":    "2 3 live",
		"?last_event_id=id3":    "live",
		"?last_event_id=id0":    `{"messages":[],"gap":{"reason":"history"}} 2 3 live`,
		"?last_event_id=absurd": `{"messages":[],"gap":{"reason":"history"}} 2 3 live`,
		"":                      "live",
	} {
		c := dial(t, g, "/a"+from)
		var got []string
		for n := len(strings.Fields(want)); len(got) < n; {
			if len(got) == n-1 { // not kept, so that the next client finds the same history
				for _, one := range NewSet(g).Connections() {
					_ = one.Send(true, []byte("live"))
				}
			}
			_, p, err := c.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(p))
		}
		_ = c.CloseNow()
		eventually(t, func() bool { return r.Connections() == 0 })
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%q: %s, want %s", from, s, want)
		}
	}
}

func TestResumeWaitsForAHistoryThatIsBeingFilled(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		c.Routes[0].History = History{Bounds: fanout.History{MaxMessages: 10}, WarmUp: time.Minute}
	})
	r := g.Routes()["/a"]
	go func() {
		for i := range 4 {
			time.Sleep(10 * time.Millisecond)
			_, _ = r.Broadcast(fanout.Message{Opcode: fanout.Text, Payload: fmt.Append(nil, i), ID: fmt.Sprint("id", i)})
		}
	}()
	c := dial(t, g, "/a?last_event_id=id1")
	for _, want := range []string{"2", "3"} {
		if _, p, err := c.Read(t.Context()); err != nil || string(p) != want {
			t.Fatalf("%q %v", p, err)
		}
	}
}
