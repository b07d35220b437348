package fanout

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hearing is a Peer that is made of functions; nil: nothing to do.
type hearing struct {
	message func(op Opcode, data []byte)
	ended   func(error)
}

func (h hearing) Message(op Opcode, data []byte) { h.message(op, data) }

func (h hearing) Ended(cause error) {
	if h.ended != nil {
		h.ended(cause)
	}
}

// attach makes a connection of h, over TLS or not, and returns the client's end.
func attach(t *testing.T, h *Hub, secure bool, as Client) (*Conn, net.Conn) {
	t.Helper()
	if !secure {
		return linkAs(t, h, smallBuffer, as)
	}
	server, client := tlsPair(t)
	return h.Attach(server, as), client
}

// bothWays runs a test over plain sockets and over TLS.
func bothWays(t *testing.T, test func(t *testing.T, secure bool)) {
	t.Helper()
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) { test(t, secure) })
	}
}

func send(t testing.TB, client net.Conn, frames ...[]byte) {
	t.Helper()
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	if _, err := client.Write(all); err != nil {
		t.Error(err)
	}
}

// nextIs reads the next frame, which is no ping.
func nextIs(t testing.TB, client net.Conn, op Opcode, payload string) {
	t.Helper()
	_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		got, _, p, err := readFrame(client)
		if err == nil && got == opPing {
			continue
		}
		if err != nil || got != op || string(p) != payload {
			t.Fatalf("got opcode %d with %.50q, want %d with %.50q: %v", got, p, op, payload, err)
		}
		return
	}
}

// goroutinesOfConnections is how many goroutines serve connections.
func goroutinesOfConnections() int {
	all := make([]byte, 4<<20)
	return strings.Count(string(all[:runtime.Stack(all, true)]), "fanout.(*Conn).")
}

// TestConnectionsAtRestHaveNoGoroutine: whatever came before, and also in the middle
// of a message.
func TestConnectionsAtRestHaveNoGoroutine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no poller")
	}
	bothWays(t, func(t *testing.T, secure bool) {
		h := newTestHub(t, Config{Limits: Limits{MaxMessageBytes: 1 << 10}, WantsMessages: true})
		echo := func(c **Conn) Client {
			answer := func(op Opcode, data []byte) { _ = (*c).Send(op, data) }
			return Client{Peer: hearing{message: answer}, Attached: func(a *Conn) { *c = a }}
		}
		var conns []*Conn
		for range 10 {
			var c *Conn
			_, client := attach(t, h, secure, echo(&c))
			conns = append(conns, c)
			send(t, client, masked(finBit|byte(opPing), "theirs"))
			nextIs(t, client, opPong, "theirs")
			c.mu.Lock()
			c.private = append(c.private, pingFrame...)
			c.flush(mark{})
			c.mu.Unlock()
			if op, _, _, err := readFrame(client); op != opPing {
				t.Fatal(op, err)
			}
			send(t, client, masked(finBit|byte(opPong), ""), masked(finBit|byte(Text), "message"))
			nextIs(t, client, Text, "message")
			whole := masked(finBit|byte(Text), "message")
			send(t, client, whole[:8])
		}
		eventually(t, func() bool { return goroutinesOfConnections() == 0 })
		for _, c := range conns {
			c.mu.Lock()
			if c.poller == nil || c.working || c.inbox != nil {
				t.Errorf("watched by %v, working %v, inbox %v", c.poller, c.working, c.inbox)
			}
			c.mu.Unlock()
		}
	})
}

// TestPingsWithoutReading: the pongs of a client that does not read are not heaped
// up, and its last ping is answered when it does. How much comes before it is the
// kernel's choice.
func TestPingsWithoutReading(t *testing.T) {
	bothWays(t, func(t *testing.T, secure bool) {
		h := newTestHub(t, Config{Limits: Limits{QueueBytes: 16 << 10}})
		c, client := attach(t, h, secure, Client{})
		padding, most := strings.Repeat("x", maxControl-8), 0
		const pings = 8000 // 1 MiB: as much as the client can send whatever the server does
		for i := range pings {
			send(t, client, masked(finBit|byte(opPing), fmt.Sprintf("%08d", i)+padding))
			if i%16 == 0 {
				c.mu.Lock()
				waiting := len(c.unsent) + len(c.private) + len(c.pong) + c.writing
				if c.cork != nil {
					c.cork.mu.Lock()
					waiting += len(c.cork.sealed)
					c.cork.mu.Unlock()
				}
				most = max(most, waiting)
				c.mu.Unlock()
			}
		}
		if most > 16<<10 {
			t.Errorf("%d bytes waited", most)
		}
		_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
		for last := ""; last != fmt.Sprintf("%08d", pings-1); {
			op, _, p, err := readFrame(client)
			switch {
			case err != nil:
				t.Fatalf("after pong %s: %v", last, err)
			case op == opPing:
			case op != opPong || len(p) < 8 || string(p[:8]) <= last:
				t.Fatalf("opcode %d, %.10q after %s", op, p, last)
			default:
				last = string(p[:8])
			}
		}
	})
}

// TestMessagesThatTakeLong: while one is handled, pings are answered both ways, and
// the client stays.
func TestMessagesThatTakeLong(t *testing.T) {
	bothWays(t, func(t *testing.T, secure bool) {
		h := newTestHub(t, Config{Limits: Limits{PingInterval: 40 * time.Millisecond, MaxMessageBytes: 1 << 10}, WantsMessages: true})
		release := make(chan struct{})
		var c *Conn
		_, client := attach(t, h, secure, Client{
			Attached: func(a *Conn) { c = a },
			Peer:     hearing{message: func(op Opcode, data []byte) { <-release; _ = c.Send(op, data) }},
		})
		send(t, client, masked(finBit|byte(Text), "takes long"))
		for range 5 { // of our intervals
			if op, _, p, err := readFrame(client); op != opPing {
				t.Fatalf("%d %q %v", op, p, err)
			}
			send(t, client, masked(finBit|byte(opPong), ""), masked(finBit|byte(opPing), "are you there"))
			nextIs(t, client, opPong, "are you there")
		}
		close(release)
		nextIs(t, client, Text, "takes long")
	})
}

// allCome waits for messages of a size, from the first on.
func allCome(t testing.TB, handled <-chan string, messages, size int) {
	t.Helper()
	for i := range messages {
		select {
		case got := <-handled:
			if got != message(i, size) {
				t.Fatalf("message %d: %.10q", i, got)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("message %d does not come", i)
		}
	}
}

// TestMessagesFasterThanTheyAreHandled: reading waits, so that they take little
// memory, goes on, and nothing is lost. Who cannot be heard need not answer pings.
func TestMessagesFasterThanTheyAreHandled(t *testing.T) {
	bothWays(t, func(t *testing.T, secure bool) {
		const limit, messages = 4 << 10, 5000
		h := newTestHub(t, Config{Limits: Limits{PingInterval: 40 * time.Millisecond, MaxMessageBytes: limit}, WantsMessages: true})
		release, handled := make(chan struct{}), make(chan string, messages)
		c, client := attach(t, h, secure, Client{
			Peer: hearing{message: func(_ Opcode, data []byte) { <-release; handled <- string(data) }},
		})
		go func() {
			for i := range messages {
				send(t, client, masked(finBit|byte(Text), message(i, 1000)))
			}
		}()
		eventually(t, func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.inbox != nil && c.inbox.paused
		})
		_, other := link(t, h, 0)
		for range 4 { // intervals pass
			if op, _, p, err := readFrame(other); op != opPing {
				t.Fatalf("%d %q %v", op, p, err)
			}
			send(t, other, masked(finBit|byte(opPong), ""))
		}
		c.mu.Lock()
		if most := int64(limit + 17<<10); c.inbox.size > most || c.listening || c.ended || c.closing != nil {
			t.Errorf("%d bytes wait, listening %v, ended %v for %v", c.inbox.size, c.listening, c.ended, c.cause)
		}
		c.mu.Unlock()
		close(release)
		go func() { // it answers pings again
			for {
				op, _, _, err := readFrame(client)
				if err != nil {
					return
				}
				if op == opPing {
					_, _ = client.Write(masked(finBit|byte(opPong), ""))
				}
			}
		}()
		allCome(t, handled, messages, 1000)
	})
}

// TestLastMessagesBehindAPause: nothing follows them that would have them read, and
// TLS has taken some of them from the socket already.
func TestLastMessagesBehindAPause(t *testing.T) {
	bothWays(t, func(t *testing.T, secure bool) {
		h := newTestHub(t, Config{Limits: Limits{MaxMessageBytes: 512}, WantsMessages: true})
		handled := make(chan string)
		_, client := attach(t, h, secure, Client{
			Peer: hearing{message: func(_ Opcode, data []byte) { handled <- string(data) }},
		})
		for range 100 {
			const messages = 20
			for i := range messages {
				send(t, client, masked(finBit|byte(Text), message(i, 100))) // in a record of its own
			}
			allCome(t, handled, messages, 100)
		}
	})
}

// TestDurationsDoNotCountOnTheWallClock: it is for people, and can be set.
func TestDurationsDoNotCountOnTheWallClock(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{PingInterval: 40 * time.Millisecond, IdleTimeout: time.Hour, MaxLifetime: time.Hour}})
	for _, step := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		c, client := link(t, h, 0)
		c.openedAt += int64(step)
		for range 3 {
			if op, _, p, err := readFrame(client); op != opPing {
				t.Fatalf("%v: %d %q %v", step, op, p, err)
			}
			send(t, client, masked(finBit|byte(opPong), ""))
		}
		if open := c.OpenFor(); open < 0 || open > time.Hour {
			t.Errorf("%v: open for %v", step, open)
		}
	}
}

// TestPayloadOfExactlyQueueBytes passes, also where the socket takes nothing of it,
// and whatever its headers add.
func TestPayloadOfExactlyQueueBytes(t *testing.T) {
	const most = 64 << 10
	payload := strings.Repeat("x", most)
	for name, give := range map[string]func(*Hub, *Conn){
		"broadcast": func(h *Hub, _ *Conn) { broadcast(h, Binary, []byte(payload)) },
		"sent":      func(_ *Hub, c *Conn) { _ = c.Send(Binary, []byte(payload)) },
	} {
		for _, policy := range []Policy{Disconnect, DropOldest} {
			t.Run(fmt.Sprint(name, ", policy ", policy), func(t *testing.T) {
				limits := Limits{QueueBytes: most, SlowConsumer: policy, PingInterval: 40 * time.Millisecond}
				h := newTestHub(t, Config{Limits: limits, MaxFrame: 1000})
				server, client := tcpPair(t)
				_ = server.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
				filled, _ := io.Copy(server, zeros{})
				_ = server.SetWriteDeadline(time.Time{})
				ended := make(chan error, 1)
				c := h.Attach(server, Client{Peer: hearing{ended: func(cause error) { ended <- cause }}})
				give(h, c)
				eventually(t, func() bool { return h.Stats().Queued >= most })
				if s := h.Stats(); s.Slow != 0 || s.Dropped != 0 {
					t.Errorf("%+v", s)
				}
				if _, err := io.CopyN(io.Discard, client, filled); err != nil {
					t.Fatal(err)
				}
				for {
					first, p, err := readMessage(client)
					if err == nil && Opcode(first&opcodeSet) == opPing {
						continue
					}
					if err != nil || string(p) != payload {
						t.Errorf("%d bytes, %v", len(p), err)
					}
					break
				}
			})
		}
	}
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestLargeRecordsHoldUpNobody: one client that sends as much as it can over TLS
// leaves the others their turn.
func TestLargeRecordsHoldUpNobody(t *testing.T) {
	h := newTestHub(t, Config{})
	_, greedy := attach(t, h, true, Client{})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		m := masked(finBit|byte(Binary), strings.Repeat("x", 60<<10))
		for {
			select {
			case <-stop:
				return
			default:
				send(t, greedy, m)
			}
		}
	}()
	_, client := link(t, h, 0)
	for i := range 200 {
		send(t, client, masked(finBit|byte(opPing), fmt.Sprint(i)))
		nextIs(t, client, opPong, fmt.Sprint(i))
	}
	close(stop)
	<-stopped
}

// TestHubsShareTheirGoroutines: what waits costs nothing, however many hubs there
// are.
func TestHubsShareTheirGoroutines(t *testing.T) {
	first := newTestHub(t, Config{})
	link(t, first, 0)
	before := runtime.NumGoroutine()
	for range 100 {
		if h := newTestHub(t, Config{}); h.engine != first.engine {
			t.Fatal("a hub has an engine of its own")
		}
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, and %d without the hubs", n, before)
	}
}
