package fanout

import (
	"encoding/binary"
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
