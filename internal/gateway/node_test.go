package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/fanout"
)

// TestNodeID: a connection ID says which node holds the connection.
func TestNodeID(t *testing.T) {
	g, _ := start(t, func(c *Config) { c.NodeID = "abcdefghijkl" })
	set := NewSet(g)
	dial(t, g, "/a")
	id := set.Connections()[0].Info().ID
	if len(id) > 50 || !strings.HasPrefix(id, "abcdefghijkl-") || NodeOf(id) != "abcdefghijkl" {
		t.Errorf("connection ID %q", id)
	}
	if c, ok := set.Connection(id); !ok || c.ID() != id {
		t.Error("the connection is not found by its ID")
	}
	for _, other := range []string{"", "-", id[13:], "x" + id, "other-" + id[13:], strings.ToUpper(id), "-" + id[13:]} {
		if _, ok := set.Connection(other); ok {
			t.Errorf("the connection is found as %q", other)
		}
	}
	if !set.IsNode("abcdefghijkl") || set.IsNode("other") {
		t.Error("the set does not know its node")
	}
	for _, other := range []string{id[13:], "*-" + id[13:], "a.b-" + id[13:], "A-" + id[13:], strings.Repeat("n", 4100) + "-" + id[13:]} {
		if node := NodeOf(other); node != "" {
			t.Errorf("%.50q is of node %.50q", other, node)
		}
	}
}

// TestShutdown: connections end with the code that is configured.
func TestShutdown(t *testing.T) {
	for want, how := range map[websocket.StatusCode]Shutdown{
		websocket.StatusGoingAway:      {},
		websocket.StatusServiceRestart: {Restart: true, Drain: 50 * time.Millisecond},
	} {
		g, events := start(t, func(c *Config) { c.Shutdown = how })
		c := dial(t, g, "/a")
		go g.Close(t.Context())
		if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != want {
			t.Errorf("%v, want %d", err, want)
		}
		events.waitFor(t, "main/a shutdown")
	}
}

// TestResumeWaitsForANodeThatIsBehind: a client waits long after the start, too, if this
// node is behind another.
func TestResumeWaitsForANodeThatIsBehind(t *testing.T) {
	g, _ := start(t, func(c *Config) {
		c.Routes[0].History = History{Bounds: fanout.History{MaxMessages: 10}, ResumeWait: time.Minute}
	})
	r := g.Routes()["/a"]
	go func() {
		for _, id := range []string{"1", "2"} {
			time.Sleep(10 * time.Millisecond) // the other node is ahead
			_, _ = r.Broadcast(fanout.Message{Opcode: fanout.Text, Payload: []byte(id), ID: id})
		}
	}()
	c := dial(t, g, "/a?last_event_id=1")
	if _, p, err := c.Read(t.Context()); err != nil || string(p) != "2" {
		t.Fatalf("%q %v", p, err)
	}
}
