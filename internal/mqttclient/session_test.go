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
		s := newSession(New(Config{MaxUnacked: 2, KeepAlive: 30 * time.Second}, slog.New(slog.DiscardHandler)))
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
		s := newSession(New(Config{MaxUnacked: 200, KeepAlive: time.Minute, QoS: 1}, slog.New(slog.DiscardHandler)))
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
		s.tap.Flush()
		if n := w.written.Len(); n != messages*ackLen {
			t.Errorf("%d bytes of acknowledgements, want %d", n, messages*ackLen)
		}
		if n, oldest := s.Unacked(); n != 0 || !oldest.IsZero() {
			t.Errorf("%d unacknowledged, the oldest of %v", n, oldest)
		}
	})
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
