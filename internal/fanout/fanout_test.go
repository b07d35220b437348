package fanout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestEveryConnectionGetsEveryMessageInOrder(t *testing.T) {
	for _, tc := range []struct{ conns, messages, size int }{
		{1, 1, 0}, {3, 2000, 64}, {50, 500, 300}, {3, 20, 200_000},
	} {
		t.Run(fmt.Sprint(tc), func(t *testing.T) {
			h := newTestHub(t, Config{Limits: Limits{QueueBytes: 8 << 20}, MaxFrame: 32 << 10})
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
				if n := broadcast(h, Text, []byte(message(i, tc.size))); n != tc.conns {
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

func TestNobodyConnected(t *testing.T) {
	h := newTestHub(t, Config{})
	if n := broadcast(h, Text, []byte("lost")); n != 0 {
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

func TestControlFramesGoBetweenMessages(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 16 << 20}})
	c, client := link(t, h, smallBuffer)
	const messages, pings = 300, 100
	go func() {
		for i := range messages {
			broadcast(h, Binary, []byte(message(i, 5000)))
		}
	}()
	go func() {
		for i := range pings {
			if _, err := client.Write(masked(finBit|byte(opPing), fmt.Sprintf("%02d", i))); err != nil {
				t.Error(err)
			}
			if err := c.Send(Text, []byte("only you")); err != nil {
				t.Error(err)
			}
		}
	}()
	next, pong, own := 0, "", 0
	for next < messages || pong != "99" || own < pings {
		op, _, p, err := readFrame(client)
		switch {
		case err != nil:
			t.Fatal(err)
		case op == opPong && string(p) > pong: // one can answer several pings
			pong = string(p)
		case op == Text && string(p) == "only you":
			own++
		case op == Binary && string(p) == message(next, 5000):
			next++
		default:
			t.Fatalf("opcode %d, %.20q", op, p)
		}
	}
}

func TestCloseFlushesWhatWasBroadcast(t *testing.T) {
	h := NewHub(Config{Limits: Limits{QueueBytes: 8 << 20}})
	_, client := link(t, h, smallBuffer)
	const messages = 200
	for i := range messages {
		broadcast(h, Text, []byte(message(i, 10_000)))
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
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 256 << 10}, CloseTimeout: 10 * time.Second})
	stop := make(chan struct{})
	var publisher, clients sync.WaitGroup
	publisher.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				broadcast(h, Text, []byte(message(i, i%3000)))
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
				if !stall { // break off in the middle of a frame, unless the end came first
					_ = client.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
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

// TestDrain: the connections are told one after the other, evenly, each after all
// that was broadcast until then.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub(Config{Limits: Limits{QueueBytes: 1 << 20}})
		const n, over = 8, 8 * time.Second
		began := time.Now()
		told := make(chan time.Duration, n)
		for range n {
			server, client := net.Pipe()
			h.Attach(server, Client{})
			go func() {
				for {
					op, _, _, err := readFrame(client)
					if err != nil || op == opClose {
						told <- time.Since(began)
						_ = client.Close()
						return
					}
				}
			}()
		}
		h.Drain(t.Context(), over, 1012, errors.New("restart"))
		for i := range n {
			if at, want := <-told, time.Duration(i+1)*time.Second; at < want || at > want+100*time.Millisecond {
				t.Errorf("connection %d was told after %v, want %v", i, at, want)
			}
		}
		h.Close(t.Context(), 1012, errors.New("restart"))
	})
}
