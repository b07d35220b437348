package mqttclient

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

func numbered(qos byte, n int) (messages []*Message) {
	for i := range n {
		messages = append(messages, &Message{QoS: qos, ID: uint16(i + 1)})
	}
	return messages
}

// TestFullSessionWaitsOnce: while there is no room, only the first message of QoS
// 0 waits for it; the others are dropped as they come, and each is counted.
func TestFullSessionWaitsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession(Config{MaxUnacked: 2, KeepAlive: 30 * time.Second}, slog.New(slog.DiscardHandler))
		s.tap = newTap(&wire{}, nil)
		check := func(n int, wait time.Duration, dropped int64) {
			t.Helper()
			began := time.Now()
			s.receive(numbered(0, n))
			if took := time.Since(began); took != wait {
				t.Errorf("%d messages took %v, want %v", n, took, wait)
			}
			if d := s.TakeDropped(); d != dropped {
				t.Errorf("of %d messages %d were dropped, want %d", n, d, dropped)
			}
		}
		check(5, 15*time.Second, 3)
		check(5, 0, 5)
		m, err := s.Pop()
		if m == nil || err != nil {
			t.Fatal(m, err)
		}
		s.Ack([]*Message{m})
		check(3, 15*time.Second, 2)
		check(1, 0, 1)
	})
}

// TestRoomIsTakenAsItComes: what waits for room is received, in order, as the
// pipeline finishes with messages one at a time.
func TestRoomIsTakenAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		s := newSession(Config{MaxUnacked: 200, KeepAlive: time.Minute, QoS: 1}, slog.New(slog.DiscardHandler))
		s.tap = newTap(w, nil)
		const messages = 1000
		received := make(chan struct{})
		go func() {
			s.receive(numbered(1, messages))
			close(received)
		}()
		for i := 1; i <= messages; {
			m, err := s.Pop()
			if err != nil {
				t.Fatal(err)
			}
			if m == nil {
				<-s.Arrived()
				continue
			}
			if m.ID != uint16(i) {
				t.Fatalf("message %d came as number %d", m.ID, i)
			}
			if n, _ := s.Unacked(); n > 200 {
				t.Fatalf("%d unacknowledged", n)
			}
			time.Sleep(time.Millisecond)
			s.Ack([]*Message{m})
			i++
		}
		<-received
		if n := w.written.Len(); n != messages*ackLen {
			t.Errorf("%d bytes of acknowledgements, want %d", n, messages*ackLen)
		}
		if n, oldest := s.Unacked(); n != 0 || !oldest.IsZero() {
			t.Errorf("%d unacknowledged, the oldest of %v", n, oldest)
		}
	})
}

// TestRestAfterARead: it lasts for longer while nobody has asked for what came,
// and there is none where it would not pay.
func TestRestAfterARead(t *testing.T) {
	s := newSession(Config{MaxUnacked: 10_000, KeepAlive: time.Minute}, slog.New(slog.DiscardHandler))
	rests := func(n int) time.Duration {
		s.receive(numbered(0, n))
		for range n - 1 {
			if m, err := s.Pop(); m == nil || err != nil {
				t.Fatal(m, err)
			}
		}
		s.rest()
		return time.Since(s.rests.received)
	}
	if s.rest(); s.rests.taken {
		t.Error("a session that has received nothing rests")
	}
	for range 3 {
		if took := rests(restGain); took < restMost {
			t.Errorf("read again after %v although a message waits", took)
		}
		_, _ = s.Pop()
		if took := rests(restGain); took < restLeast {
			t.Errorf("read again after %v", took)
		}
		_, _ = s.Pop()
	}
	rests(1) // too few, after a rest
	for range restSkip - 1 {
		if rests(restGain); s.rests.taken {
			t.Fatal("rests although that did not pay")
		}
	}
	if rests(restGain); !s.rests.taken {
		t.Error("does not try again")
	}
}

func TestFifo(t *testing.T) {
	var q fifo
	in, out := numbered(0, 5000), 0
	pop := func(n int) {
		for range n {
			if m := q.pop(); m != in[out] {
				t.Fatalf("message %d: %v", out, m)
			}
			out++
		}
	}
	for i := 0; i < len(in); i += 50 {
		q.push(in[i : i+50])
		pop(30)
	}
	pop(q.len())
	if q.pop() != nil || q.peek() != nil || q.len() != 0 || out != len(in) {
		t.Errorf("%d left, %d came", q.len(), out)
	}
}
