package fanout

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestSlowConsumerIsDisconnectedAndOthersAreNot(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 1 << 20}, CloseTimeout: 5 * time.Second})
	_, slow := link(t, h, smallBuffer)
	_, fast := link(t, h, 0)
	const messages = 5000
	done := make(chan error, 1)
	window := make(chan struct{}, 200) // the fast one is never that far behind
	go func() {
		defer close(done)
		for i := range messages {
			if _, _, p, err := readFrame(fast); err != nil || string(p) != message(i, 1000) {
				done <- fmt.Errorf("message %d: %.10q, %w", i, p, err)
				return
			}
			<-window
		}
	}()
	for i := range messages {
		select {
		case window <- struct{}{}:
		case err := <-done:
			t.Fatal(err)
		}
		broadcast(h, Text, []byte(message(i, 1000)))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := h.Stats(); s.Slow != 1 || s.Dropped != 0 {
		t.Fatalf("%+v", s)
	}
	// The slow one now reads: an unbroken sequence, then the reason.
	for i := 0; ; i++ {
		op, _, p, err := readFrame(slow)
		if err != nil {
			t.Fatal(err)
		}
		if op == opClose {
			if code := binary.BigEndian.Uint16(p); code != TryAgainLater || i == 0 {
				t.Fatalf("code %d after %d messages", code, i)
			}
			break
		}
		if string(p) != message(i, 1000) {
			t.Fatalf("message %d: %.10q", i, p)
		}
	}
}

func TestDropOldestCountsWhatItDrops(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 64 << 10, SlowConsumer: DropOldest}})
	c, slow := link(t, h, smallBuffer)
	const messages = 5000
	for i := range messages {
		broadcast(h, Text, []byte(message(i, 1000)))
	}
	eventually(t, func() bool { return h.Stats().Dropped > 0 })
	last, received := -1, 0
	for last < messages-1 {
		_, _, p, err := readFrame(slow)
		if err != nil {
			t.Fatal(err)
		}
		var i int
		_, _ = fmt.Sscanf(string(p), "%d:", &i)
		if i <= last || string(p) != message(i, 1000) {
			t.Fatalf("%d after %d: %.10q", i, last, p)
		}
		last, received = i, received+1
	}
	if got := uint64(messages - received); c.Dropped() != got || h.Stats().Dropped != int64(got) {
		t.Fatalf("dropped %d, counted %d and %d", got, c.Dropped(), h.Stats().Dropped)
	}
	if h.Stats().Deliveries != int64(received) {
		t.Fatalf("%d delivered, counted %d", received, h.Stats().Deliveries)
	}
}

func TestDurations(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  Config
		want error
	}{
		"idle":     {Config{Limits: Limits{IdleTimeout: 50 * time.Millisecond}}, ErrIdle},
		"lifetime": {Config{Limits: Limits{MaxLifetime: 50 * time.Millisecond}}, ErrLifetime},
		"no pong":  {Config{Limits: Limits{PingInterval: 50 * time.Millisecond}}, ErrNoPong},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestHub(t, tc.cfg)
			_, client := link(t, h, 0)
			for {
				op, _, p, err := readFrame(client)
				if err != nil {
					t.Fatal(err)
				}
				if op == opPing {
					continue
				}
				if op != opClose || binary.BigEndian.Uint16(p) != GoingAway || string(p[2:]) != tc.want.Error() {
					t.Fatalf("opcode %d, %q", op, p)
				}
				return
			}
		})
	}
}

// fill broadcasts parts of a key until a connection's socket is full and so many bytes wait
// for it, and returns how many it broadcast.
func fill(c *Conn, key string, bytes int64) int {
	for n := 0; ; n++ {
		c.mu.Lock()
		full := c.blocked && c.waiting(c.newest()) >= bytes
		c.mu.Unlock()
		if full {
			return n
		}
		text := message(n, 1000)
		c.hub.Broadcast(Message{Opcode: Text, Payload: []byte("[" + text + "]"), Parts: []Part{{Key: key, From: 1, To: 1 + len(text)}}})
	}
}

// TestSlowConsumerThatChoosesCopiesNothing: what waits for a slow client stays in the log
// that it shares with others, and its choice waits for that.
func TestSlowConsumerThatChoosesCopiesNothing(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 8 << 20}, Wrap: testWrap})
	c, client := linkAs(t, h, smallBuffer, Client{Start: Start{Choice: &Choice{Keys: []string{"a"}}}})
	before := fill(c, "a", 1<<20)
	for _, key := range []string{"none", "b"} {
		if err := c.Choose(&Choice{Keys: []string{key}}, []byte("chosen "+key)); err != nil {
			t.Fatal(err)
		}
	}
	c.mu.Lock()
	if own := len(c.private) + len(c.unsent); own > 2*mostCopied {
		t.Errorf("the connection has %d bytes of its own", own)
	}
	c.mu.Unlock()
	next := func() string {
		_, payload, err := readMessage(client)
		if err != nil {
			t.Fatal(err)
		}
		return string(payload)
	}
	for n := range before {
		if text := next(); text != "["+message(n, 1000)+"]" {
			t.Fatalf("message %d: %.20q", n, text)
		}
	}
	for _, want := range []string{"chosen none", "chosen b"} {
		if text := next(); text != want {
			t.Fatalf("%.20q, want %q", text, want)
		}
	}
	h.Broadcast(Message{Opcode: Text, Payload: []byte("[a,b]"), Parts: []Part{{Key: "a", From: 1, To: 2}, {Key: "b", From: 3, To: 4}}})
	if text := next(); text != "[b]" {
		t.Errorf("%q by the new choice", text)
	}
}

// TestSlowConsumerThatReadsIsThere: the answer to a ping comes late from a client that has
// much to read before it. One that reads is there, one that does not is not.
func TestSlowConsumerThatReadsIsThere(t *testing.T) {
	for name, reads := range map[string]bool{"reads": true, "does not read": false} {
		t.Run(name, func(t *testing.T) {
			limits := Limits{QueueBytes: 1 << 20, SlowConsumer: DropOldest, PingInterval: time.Hour}
			h := newTestHub(t, Config{Limits: limits, Wrap: testWrap})
			c, client := linkAs(t, h, smallBuffer, Client{})
			fill(c, "a", 256<<10)
			overdue := func() (cause error) { // as if a ping was sent two hours ago
				c.mu.Lock()
				c.pinged, c.pingsSent = now()-int64(2*time.Hour), true
				c.heard = c.pinged - 1
				c.mu.Unlock()
				c.check(time.Now())
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.cause
			}
			c.mu.Lock()
			c.progressed()
			held := c.unacked
			c.mu.Unlock()
			if !reads {
				if err := overdue(); !errors.Is(err, ErrNoPong) {
					t.Errorf("cause %v", err)
				}
				return
			}
			if held == 0 {
				t.Skip("this system does not tell what a client has acknowledged")
			}
			eventually(t, func() bool {
				readFull(t, client, make([]byte, 1000))
				c.mu.Lock()
				defer c.mu.Unlock()
				return unacked(c.descriptor()) < held
			})
			if err := overdue(); err != nil {
				t.Errorf("cause %v", err)
			}
		})
	}
}
