package fanout

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// gapText is how the tests tell of a gap.
func gapText(reason GapReason, dropped uint64) []byte {
	return fmt.Appendf(nil, "gap %d %d", reason, dropped)
}

func keep(h *Hub, i, size int) {
	h.Broadcast(Message{Opcode: Text, Payload: []byte(message(i, size)), ID: fmt.Sprint("id-", i)})
}

func expect(t *testing.T, client net.Conn, want ...string) {
	t.Helper()
	_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	for _, w := range want {
		if _, p, err := readMessage(client); err != nil || string(p) != w {
			t.Fatalf("got %.30q %v, want %.30q", p, err, w)
		}
	}
}

func TestResume(t *testing.T) {
	for _, tc := range []struct {
		name    string
		history History
		kept    int // broadcast before the client comes, with nobody connected
		from    string
		want    []string // before the live message
	}{
		{"from the middle", History{MaxMessages: 10}, 5, "id-2", []string{"3:", "4:"}},
		{"from the newest", History{MaxMessages: 10}, 5, "id-4", nil},
		{"from the last before the history", History{MaxMessages: 2}, 5, "id-2", []string{"3:", "4:"}},
		{"from one before that", History{MaxMessages: 2}, 5, "id-1", []string{"gap 0 0", "3:", "4:"}},
		{"from what never was", History{MaxMessages: 10}, 2, "other", []string{"gap 0 0", "0:", "1:"}},
		{"from an empty history", History{MaxMessages: 10}, 0, "other", []string{"gap 0 0"}},
		{"anew", History{MaxMessages: 10}, 5, "", nil},
		{"bound in bytes", History{MaxBytes: 9}, 5, "id-1", []string{"gap 0 0", "3:", "4:"}},
		{"without a history", History{}, 5, "id-2", []string{"gap 0 0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newTestHub(t, Config{History: tc.history, Gap: gapText})
			for i := range tc.kept {
				keep(h, i, 0)
			}
			_, client := linkAs(t, h, 0, Client{Start: Start{ResumeFrom: tc.from}})
			keep(h, 99, 0)
			expect(t, client, append(tc.want, "99:")...)
			told := int64(0)
			if len(tc.want) > 0 && tc.want[0] == "gap 0 0" {
				told = 1
			}
			if got := h.Stats().Gaps; got[GapHistory] != told || got[GapSlowConsumer] != 0 {
				t.Errorf("%d gaps are counted, %d was told", got, told)
			}
		})
	}
}

func TestHistoryForgetsByAge(t *testing.T) {
	h := newTestHub(t, Config{
		Limits:  Limits{IdleTimeout: time.Minute, PingInterval: 40 * time.Millisecond},
		History: History{MaxAge: 50 * time.Millisecond},
		Gap:     gapText,
	})
	keep(h, 1, 0)
	keep(h, 2, 0)
	eventually(t, func() bool { return h.Stats().History == 0 })
	_, client := linkAs(t, h, 0, Client{Start: Start{ResumeFrom: "id-1"}})
	expect(t, client, "gap 0 0")
}

func TestCompressedConnectionsResumeToo(t *testing.T) {
	h := newTestHub(t, Config{Compression: true, History: History{MaxMessages: 10}, Gap: gapText})
	for i := range 3 {
		keep(h, i, 1000)
	}
	_, client := linkAs(t, h, 0, Client{Compressed: true, Start: Start{ResumeFrom: "id-0"}})
	for i := 1; i < 3; i++ {
		first, p, err := readMessage(client)
		if err != nil || first&rsv1Bit == 0 || inflated(t, p) != message(i, 1000) {
			t.Fatalf("message %d: %x %v", i, first, err)
		}
	}
}

// A history larger than what may wait for a connection is no slow consumer.
func TestHistoryLargerThanTheQueue(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 64 << 10}, History: History{MaxMessages: 1000}, Gap: gapText})
	for i := range 1000 {
		keep(h, i, 5000)
	}
	_, client := linkAs(t, h, smallBuffer, Client{Start: Start{ResumeFrom: "id-0"}})
	for i := 1; i < 1000; i++ {
		expect(t, client, message(i, 5000))
	}
	keep(h, 1000, 0)
	expect(t, client, "1000:")
	if s := h.Stats(); s.Slow != 0 {
		t.Fatalf("%+v", s)
	}
}

func TestDropOldestTellsOfTheGap(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 64 << 10, SlowConsumer: DropOldest}, Gap: gapText})
	c, client := link(t, h, smallBuffer)
	const messages = 5000
	for i := range messages {
		keep(h, i, 1000)
	}
	eventually(t, func() bool { return h.Stats().Dropped > 0 })
	next, told, gaps := 0, 0, int64(0)
	for next < messages {
		_, p, err := readMessage(client)
		if err != nil {
			t.Fatal(err)
		}
		var reason, n, i int
		if _, err := fmt.Sscanf(string(p), "gap %d %d", &reason, &n); err == nil {
			if GapReason(reason) != GapSlowConsumer {
				t.Fatalf("%s", p)
			}
			next += n
			told += n
			gaps++
			continue
		}
		if _, _ = fmt.Sscanf(string(p), "%d:", &i); i != next {
			t.Fatalf("%d, want %d: a gap that was not told", i, next)
		}
		next++
	}
	if told == 0 || uint64(told) != c.Dropped() {
		t.Fatalf("told of %d, dropped %d", told, c.Dropped())
	}
	if got := h.Stats().Gaps; got[GapSlowConsumer] != gaps || got[GapHistory] != 0 {
		t.Errorf("%d gaps were told, %d are counted", gaps, got)
	}
}

func TestWaitForMessage(t *testing.T) {
	h := newTestHub(t, Config{History: History{MaxMessages: 10}})
	found := make(chan error)
	go func() { found <- h.WaitForMessage(context.Background(), "id-7") }()
	for i := range 8 {
		keep(h, i, 0)
	}
	if err := <-found; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { found <- h.WaitForMessage(ctx, "id-8") }()
	cancel()
	if err := <-found; err == nil {
		t.Fatal("found what is not there")
	}
}

// TestNeitherGapNorRepeatAtTheSeam lets clients break off and resume while
// messages flow.
func TestNeitherGapNorRepeatAtTheSeam(t *testing.T) {
	const messages, size = 20_000, 200
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 4 << 20}, History: History{MaxMessages: messages}, Gap: gapText})
	var clients sync.WaitGroup
	for range 6 {
		clients.Go(func() {
			for next := 0; next < messages; {
				from := "none"
				if next > 0 {
					from = fmt.Sprint("id-", next-1)
				}
				_, client := linkAs(t, h, []int{0, smallBuffer}[rand.IntN(2)], Client{Start: Start{ResumeFrom: from}})
				for range rand.IntN(4000) {
					_, p, err := readMessage(client)
					if err != nil {
						t.Error(err)
						return
					}
					if next == 0 && strings.HasPrefix(string(p), "gap") {
						continue
					}
					if string(p) != message(next, size) {
						t.Errorf("got %.10q, want %d", p, next)
						return
					}
					if next++; next == messages {
						break
					}
				}
				_ = client.Close()
			}
		})
	}
	for i := range messages {
		keep(h, i, size)
		if i%100 == 0 {
			time.Sleep(time.Millisecond) // so that clients come and go meanwhile
		}
	}
	clients.Wait()
}

// TestRepeatsAreLeftOut: what the source sends again while it is in the history
// reaches nobody twice.
func TestRepeatsAreLeftOut(t *testing.T) {
	h := newTestHub(t, Config{History: History{MaxMessages: 2}})
	_, client := link(t, h, 0)
	for _, i := range []int{1, 2, 1, 2, 3, 4, 1} { // the last 1 is forgotten already
		keep(h, i, 0)
	}
	h.Broadcast(Message{Opcode: Text, Payload: []byte("anonymous")})
	h.Broadcast(Message{Opcode: Text, Payload: []byte("anonymous")})
	expect(t, client, "1:", "2:", "3:", "4:", "1:", "anonymous", "anonymous")
	if n := h.Stats().Repeated; n != 2 {
		t.Errorf("%d repeats are counted, want 2", n)
	}
}
