package fanout

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// smallBuffer makes a socket fill up soon, yet not crawl.
const smallBuffer = 32 << 10

// link attaches a real socket to h and returns its two ends.
func link(t testing.TB, h *Hub, readBuffer int) (*Conn, net.Conn) {
	t.Helper()
	return linkAs(t, h, readBuffer, false)
}

func linkAs(t testing.TB, h *Hub, readBuffer int, compressed bool) (*Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialed := make(chan net.Conn, 1)
	go func() {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err == nil && readBuffer > 0 {
			_ = nc.(*net.TCPConn).SetReadBuffer(readBuffer)
		}
		dialed <- nc
	}()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if readBuffer > 0 {
		_ = server.(*net.TCPConn).SetWriteBuffer(readBuffer)
	}
	client := <-dialed
	c := h.Attach(server, []byte("hello"), compressed)
	go func() { // the reader that Attach asks for
		_, _ = io.Copy(io.Discard, c)
		_ = c.Detach()
	}()
	t.Cleanup(func() { _ = client.Close() })
	if got := make([]byte, 5); readFull(t, client, got) != "hello" {
		t.Fatalf("prelude %q", got)
	}
	return c, client
}

func readFull(t testing.TB, r io.Reader, p []byte) string {
	t.Helper()
	if _, err := io.ReadFull(r, p); err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// readFrame reads one unmasked frame.
func readFrame(r io.Reader) (op Opcode, fin bool, payload []byte, err error) {
	first, payload, err := readRaw(r)
	return Opcode(first & opcodeSet), first&finBit != 0, payload, err
}

func readRaw(r io.Reader) (first byte, payload []byte, err error) {
	var h [10]byte
	if _, err = io.ReadFull(r, h[:2]); err != nil {
		return 0, nil, err
	}
	n := int(h[1])
	switch n {
	case 126:
		_, err = io.ReadFull(r, h[2:4])
		n = int(binary.BigEndian.Uint16(h[2:]))
	case 127:
		_, err = io.ReadFull(r, h[2:10])
		n = int(binary.BigEndian.Uint64(h[2:]))
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return h[0], payload, err
}

// readMessage reads the frames of one message; first is the first byte of its
// first frame.
func readMessage(r io.Reader) (first byte, frames int, payload []byte, err error) {
	for fin := false; !fin; frames++ {
		var b byte
		var p []byte
		if b, p, err = readRaw(r); err != nil {
			return first, frames, nil, err
		}
		if frames == 0 {
			first = b
		}
		payload, fin = append(payload, p...), b&finBit != 0
	}
	return first, frames, payload, nil
}

func newTestHub(t testing.TB, cfg Config) *Hub {
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = 1 << 20
	}
	h := NewHub(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		h.Close(ctx, GoingAway, errors.New("test over"))
	})
	return h
}

func TestEveryConnectionGetsEveryMessageInOrder(t *testing.T) {
	for _, tc := range []struct{ conns, messages, size int }{
		{1, 1, 0}, {3, 2000, 64}, {50, 500, 300}, {3, 20, 200_000},
	} {
		t.Run(fmt.Sprint(tc), func(t *testing.T) {
			h := newTestHub(t, Config{MaxFrame: 32 << 10})
			var wg sync.WaitGroup
			for range tc.conns {
				_, client := link(t, h, 0)
				wg.Go(func() {
					for i := range tc.messages {
						var got []byte
						for fin := false; !fin; {
							_, f, p, err := readFrame(client)
							if err != nil {
								t.Errorf("message %d: %v", i, err)
								return
							}
							if len(p) > 32<<10 {
								t.Errorf("frame of %d bytes", len(p))
							}
							got, fin = append(got, p...), f
						}
						if want := message(i, tc.size); string(got) != want {
							t.Errorf("message %d: got %.20q, want %.20q", i, got, want)
							return
						}
					}
				})
			}
			for i := range tc.messages {
				if n := h.Broadcast(Text, []byte(message(i, tc.size))); n != tc.conns {
					t.Fatalf("reached %d connections", n)
				}
			}
			wg.Wait()
			want := int64(tc.conns) * int64(tc.messages)
			if s := h.Stats(); s.Deliveries != want || s.Messages != int64(tc.messages) {
				t.Errorf("%+v, want %d deliveries", s, want)
			}
		})
	}
}

func message(i, size int) string {
	return fmt.Sprintf("%d:", i) + strings.Repeat("x", size)
}

func TestNobodyConnected(t *testing.T) {
	h := newTestHub(t, Config{})
	if n := h.Broadcast(Text, []byte("lost")); n != 0 {
		t.Fatal(n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := h.WaitForConnection(ctx); err == nil {
		t.Fatal("waited for nobody")
	}
	done := make(chan error)
	go func() { done <- h.WaitForConnection(context.Background()) }()
	link(t, h, 0)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestSlowConsumerIsDisconnectedAndOthersAreNot(t *testing.T) {
	h := newTestHub(t, Config{QueueBytes: 1 << 20, CloseTimeout: 5 * time.Second})
	_, slow := link(t, h, smallBuffer)
	_, fast := link(t, h, 0)
	const messages = 5000
	done := make(chan error, 1)
	go func() {
		for i := range messages {
			if _, _, p, err := readFrame(fast); err != nil || string(p) != message(i, 1000) {
				done <- fmt.Errorf("message %d: %.10q, %w", i, p, err)
				return
			}
		}
		done <- nil
	}()
	for i := range messages {
		h.Broadcast(Text, []byte(message(i, 1000)))
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
	h := newTestHub(t, Config{QueueBytes: 64 << 10, SlowConsumer: DropOldest})
	c, slow := link(t, h, smallBuffer)
	const messages = 5000
	for i := range messages {
		h.Broadcast(Text, []byte(message(i, 1000)))
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

func TestControlFramesGoBetweenMessages(t *testing.T) {
	h := newTestHub(t, Config{QueueBytes: 16 << 20})
	c, client := link(t, h, smallBuffer)
	const messages = 300
	go func() {
		for i := range messages {
			h.Broadcast(Binary, []byte(message(i, 5000)))
		}
	}()
	go func() {
		for range 100 {
			if _, err := c.Write(append([]byte{finBit | 0xA, 4}, "pong"...)); err != nil {
				t.Error(err)
			}
			if err := c.Send(Text, []byte("only you")); err != nil {
				t.Error(err)
			}
		}
	}()
	next, pongs, own := 0, 0, 0
	for next < messages || pongs < 100 || own < 100 {
		op, _, p, err := readFrame(client)
		switch {
		case err != nil:
			t.Fatal(err)
		case op == 0xA && string(p) == "pong":
			pongs++
		case op == Text && string(p) == "only you":
			own++
		case op == Binary && string(p) == message(next, 5000):
			next++
		default:
			t.Fatalf("opcode %d, %.20q", op, p)
		}
	}
}

func TestDurations(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  Config
		want error
	}{
		"idle":     {Config{IdleTimeout: 50 * time.Millisecond}, ErrIdle},
		"lifetime": {Config{MaxLifetime: 50 * time.Millisecond}, ErrLifetime},
		"no pong":  {Config{PingInterval: 50 * time.Millisecond}, ErrNoPong},
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

func TestCloseFlushesWhatWasBroadcast(t *testing.T) {
	h := NewHub(Config{QueueBytes: 8 << 20})
	_, client := link(t, h, smallBuffer)
	const messages = 200
	for i := range messages {
		h.Broadcast(Text, []byte(message(i, 10_000)))
	}
	closed := make(chan struct{})
	go func() { h.Close(context.Background(), GoingAway, errors.New("shutting down")); close(closed) }()
	for i := range messages {
		if _, _, p, err := readFrame(client); err != nil || string(p) != message(i, 10_000) {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if op, _, p, err := readFrame(client); op != opClose || string(p[2:]) != "shutting down" {
		t.Fatalf("opcode %d %q %v", op, p, err)
	}
	_ = client.Close()
	<-closed
}

// TestChurn lets connections come, go, stall and break in the middle of a frame
// while messages flow. Whoever stays to the end misses nothing.
func TestChurn(t *testing.T) {
	h := newTestHub(t, Config{QueueBytes: 256 << 10, CloseTimeout: 10 * time.Second})
	stop := make(chan struct{})
	var publisher, clients sync.WaitGroup
	publisher.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				h.Broadcast(Text, []byte(message(i, i%3000)))
			}
		}
	})
	for range 8 {
		clients.Go(func() {
			for range 15 {
				_, client := link(t, h, []int{0, smallBuffer}[rand.IntN(2)])
				stall, frames := rand.IntN(5) == 0, rand.IntN(400)
				last := -1
				for range frames {
					op, _, p, err := readFrame(client)
					if err != nil {
						t.Error("broken without a reason:", err)
						break
					}
					if op == opClose {
						stall = true // nothing follows
						break
					}
					var i int
					_, _ = fmt.Sscanf(string(p), "%d:", &i)
					if string(p) != message(i, i%3000) || last >= 0 && i != last+1 {
						t.Errorf("%d after %d", i, last)
						break
					}
					if last = i; stall {
						break
					}
				}
				if !stall { // break off in the middle of a frame
					_, _ = io.ReadFull(client, make([]byte, rand.IntN(1000)))
				}
				_ = client.Close()
			}
		})
	}
	clients.Wait()
	close(stop)
	publisher.Wait()
	eventually(t, func() bool { return h.Len() == 0 })
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
