package fanout

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestSlowConsumerGetsTheLatest: a client that does not read is never closed, and when
// it reads again it gets the newest of each key that it wants, in order, and is told how
// much it did not get.
func TestSlowConsumerGetsTheLatest(t *testing.T) {
	for name, choice := range map[string]*Choice{
		"everything": nil, "keys": {Keys: []string{"key1", "key3"}}, "filter": {Filters: []string{"topic/+"}},
	} {
		t.Run(name, func(t *testing.T) {
			dropped := uint64(0)
			h := newTestHub(t, Config{
				Limits: Limits{QueueBytes: 16 << 10, SlowConsumer: OnlyLatest}, Wrap: testWrap, Latest: Latest{MaxKeys: 100},
				Gap: func(_ GapReason, n uint64) []byte { dropped += n; return fmt.Appendf(nil, "gap %d", n) },
			})
			c, client := linkAs(t, h, smallBuffer, Client{Start: Start{Choice: choice}})
			const messages = 20_000
			newest, wants := map[string]string{}, uint64(0)
			for n := range messages {
				key := fmt.Sprintf("key%d", n%5)
				topic := "topic/" + key
				text := fmt.Sprintf("%d;%s;%s", n, key, strings.Repeat("x", 300))
				if choice == nil || wanted(choice, Part{Key: key, Topic: topic}) {
					newest[key] = text
					wants++
				}
				parts := []Part{{Key: key, Topic: topic, From: 1, To: 1 + len(text)}}
				h.Broadcast(Message{Opcode: Text, Payload: []byte("[" + text + "]"), Parts: parts})
			}
			got, last, envelopes, gaps := map[string]string{}, -1, uint64(0), 0
			for fmt.Sprint(got) != fmt.Sprint(newest) {
				_, payload, err := readMessage(client)
				if err != nil {
					t.Fatal(err)
				}
				text := string(payload)
				if strings.HasPrefix(text, "gap ") {
					gaps++
					continue
				}
				envelopes++
				for part := range strings.SplitSeq(strings.Trim(text, "[]"), ",") {
					var n int
					var key string
					fields := strings.Split(part, ";")
					_, _ = fmt.Sscan(fields[0], &n)
					if key = fields[1]; n <= last {
						t.Fatalf("%d after %d", n, last)
					}
					last = n
					if _, ok := newest[key]; !ok {
						t.Fatalf("got %.20q", part)
					}
					got[key] = part
				}
			}
			if gaps == 0 || dropped == 0 || envelopes+dropped < wants || c.Dropped() != dropped {
				t.Errorf("%d gaps of %d messages and %d envelopes, of %d; Dropped says %d", gaps, dropped, envelopes, wants, c.Dropped())
			}
			if s := h.Stats(); s.Slow != 0 || envelopes > wants/2 {
				t.Errorf("%+v, %d envelopes", s, envelopes)
			}
		})
	}
}

// piped attaches a client that gets nothing before it reads.
func piped(t *testing.T, h *Hub, as Client) (*Conn, net.Conn) {
	t.Helper()
	server, client := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	_ = client.SetReadDeadline(time.Now().Add(20 * time.Second))
	return h.Attach(server, as), client
}

// broadcastPart broadcasts a message of one part, such as 3;a for the key a.
func broadcastPart(h *Hub, text string) {
	_, key, _ := strings.Cut(text, ";")
	h.Broadcast(Message{Opcode: Text, Payload: []byte("[" + text + "]"), Parts: []Part{{ID: text, Key: key, From: 1, To: 1 + len(text)}}})
}

func onlyLatest(t *testing.T) *Hub {
	return newTestHub(t, Config{
		Limits: Limits{SlowConsumer: OnlyLatest, QueueBytes: 1 << 20}, Wrap: testWrap, Latest: Latest{MaxKeys: 100},
		Gap: func(_ GapReason, n uint64) []byte { return []byte("gap") },
	})
}

// TestSlowConsumerChooses: it is told of what it did not get by the old choice before
// anything that came later.
func TestSlowConsumerChooses(t *testing.T) {
	h := onlyLatest(t)
	c, client := piped(t, h, Client{Start: Start{Choice: &Choice{All: true}}})
	broadcastPart(h, "1;a") // is written
	eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.writing > 0 })
	broadcastPart(h, "2;a") // waits
	eventually(t, func() bool { return c.Dropped() > 0 })
	if err := c.Choose(&Choice{Keys: []string{"a"}}, []byte("chosen")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"[1;a]", "gap", "chosen", "[2;a]"} {
		if _, got, err := readMessage(client); err != nil || string(got) != want {
			t.Fatalf("got %s, %v, want %s", got, err, want)
		}
	}
}

// TestSlowConsumerAtAnInterval: what the interval has held back is older than what the
// client has got of others, and comes all the same.
func TestSlowConsumerAtAnInterval(t *testing.T) {
	h := onlyLatest(t)
	c, client := piped(t, h, Client{Start: Start{Choice: &Choice{All: true, Interval: time.Hour}}})
	expect := func(want string) {
		t.Helper()
		if _, got, err := readMessage(client); err != nil || string(got) != want {
			t.Fatalf("got %s, %v, want %s", got, err, want)
		}
	}
	has := func(complete uint64) {
		t.Helper()
		eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return !c.blocked && c.complete == complete })
	}
	broadcastPart(h, "1;a")
	expect("[1;a]")
	has(1)
	broadcastPart(h, "2;a") // is held back
	broadcastPart(h, "3;b")
	expect("[3;b]")
	has(3)
	broadcastPart(h, "4;c")
	eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.writing > 0 })
	h.mu.Lock()
	c.group.selection.pacer.turns[0].at = time.Now() // of a
	h.mu.Unlock()
	h.takeTurns()
	eventually(t, func() bool { return c.Dropped() > 0 })
	expect("[4;c]")
	expect("gap")
	expect("[2;a,3;b,4;c]")
}
