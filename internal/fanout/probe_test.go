package fanout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// watcher gathers what is told of messages, by their number.
type watcher struct {
	mu   sync.Mutex
	told map[int][]Written
}

func (w *watcher) written(i int) func(Written) {
	return func(of Written) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.told == nil {
			w.told = make(map[int][]Written)
		}
		w.told[i] = append(w.told[i], of)
	}
}

// all waits until so many are told of, and returns them.
func (w *watcher) all(t *testing.T, n int) map[int]Written {
	t.Helper()
	eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.told) == n
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	once := make(map[int]Written, n)
	for i, of := range w.told {
		if len(of) != 1 {
			t.Fatalf("message %d was told of %d times: %+v", i, len(of), of)
		}
		once[i] = of[0]
	}
	return once
}

// idle reports whether nothing is left of probes.
func idle(h *Hub) bool {
	h.probes.mu.Lock()
	defer h.probes.mu.Unlock()
	return len(h.probes.all) == 0 && !h.probes.on.Load()
}

func TestWritten(t *testing.T) {
	h := newTestHub(t, Config{Wrap: testWrap})
	var clients []net.Conn
	for _, as := range []Client{
		{},
		{},
		{Events: true},
		{Compressed: true},
		{Start: Start{Choice: &Choice{Keys: []string{"a"}}}},
		{Start: Start{Choice: &Choice{Filters: []string{"x/#"}}}},
		{Start: Start{Choice: &Choice{Keys: []string{"nobody"}}}},
		{Start: Start{Choice: &Choice{All: true, Interval: time.Hour}}},
	} {
		_, client := linkAs(t, h, 0, as)
		clients = append(clients, client)
		go func() { _, _ = io.Copy(io.Discard, client) }()
	}
	var w watcher
	began := time.Now()
	parts := []Part{{ID: "1", Key: "a", Topic: "x/1", From: 1, To: 2}, {ID: "2", Key: "b", Topic: "y", From: 3, To: 4}}
	if n := h.Broadcast(Message{Opcode: Text, Payload: []byte("[1,2]"), Parts: parts, Written: w.written(1)}); n != len(clients) {
		t.Fatal(n)
	}
	of := w.all(t, 1)[1]
	check := func(what string, got, want Reach) {
		t.Helper()
		if got.Got > 0 && (got.First.Before(began) || got.Last.Before(got.First) || got.Last.After(of.At)) {
			t.Errorf("%s: %v, %v, %v", what, began, got.First, got.Last)
		}
		if got.First, got.Last = (time.Time{}), (time.Time{}); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	check("all", of.Reach, Reach{Got: 7, NotConcerned: 1})
	check("first part", of.Parts[0], Reach{Got: 7, NotConcerned: 1})
	check("second part", of.Parts[1], Reach{Got: 5, NotConcerned: 3})

	began = time.Now() // now an interval holds back what there was before, and not what is new
	parts = []Part{{ID: "3", Key: "b", Topic: "y", From: 1, To: 2}, {ID: "4", Key: "c", Topic: "y", From: 3, To: 4}}
	h.Broadcast(Message{Opcode: Text, Payload: []byte("[3,4]"), Parts: parts, Written: w.written(2)})
	of = w.all(t, 2)[2]
	check("all", of.Reach, Reach{Got: 5, NotConcerned: 3})
	check("held back", of.Parts[0], Reach{Got: 4, NotConcerned: 3, HeldBack: 1})
	check("not held back", of.Parts[1], Reach{Got: 5, NotConcerned: 3})
	began = time.Now()
	h.Broadcast(Message{Opcode: Text, Payload: []byte("[3]"), Parts: parts[:1], Written: w.written(3)})
	of = w.all(t, 3)[3]
	check("all held back", of.Reach, Reach{Got: 4, NotConcerned: 3, HeldBack: 1})
	if !idle(h) {
		t.Error("something is watched still")
	}
}

func TestWrittenToNobody(t *testing.T) {
	h := newTestHub(t, Config{History: History{MaxMessages: 10}})
	var w watcher
	if n := h.Broadcast(Message{Opcode: Text, ID: "1", Written: w.written(1)}); n != 0 {
		t.Fatal(n)
	}
	link(t, h, 0)
	h.Broadcast(Message{Opcode: Text, ID: "1", Written: w.written(2)}) // again
	if got := w.all(t, 1)[2]; got.Unwatched == "" {
		t.Errorf("%+v", got)
	}
	if !idle(h) {
		t.Error("something is watched still")
	}
}

// TestWrittenToASlowOne agrees with what the client reads, under each policy and on each kind of socket. A quick one gets all.
func TestWrittenToASlowOne(t *testing.T) {
	for _, policy := range []Policy{Disconnect, DropOldest, OnlyLatest} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprint(policy, secure), func(t *testing.T) {
				h := newTestHub(t, Config{
					Limits: Limits{QueueBytes: 64 << 10, SlowConsumer: policy}, CloseTimeout: 10 * time.Second,
					Wrap: testWrap, Latest: Latest{MaxKeys: 10, MaxBytes: 1 << 20},
				})
				slow := attachSlow(t, h, secure)
				quick := attachQuick(t, h)
				var w watcher
				const messages = 600
				for i := range messages {
					text := message(i, 1000)
					h.Broadcast(Message{
						Opcode: Text, Payload: []byte("[" + text + "]"), Written: w.written(i),
						Parts: []Part{{ID: fmt.Sprint(i), Key: "k", Topic: "k", From: 1, To: 1 + len(text)}},
					})
					if i%20 == 0 {
						eventually(t, func() bool { return quick.len() == i+1 })
					}
				}
				read := make(map[int]bool)
				for {
					op, _, p, err := readFrame(slow)
					if err != nil || op == opClose {
						break
					}
					var i int
					_, _ = fmt.Sscanf(strings.Trim(string(p), "[]"), "%d:", &i)
					read[i] = true
					if i == messages-1 {
						break
					}
				}
				watched := 0
				for i, of := range w.all(t, messages) {
					if of.Unwatched != "" {
						continue
					}
					watched++
					quickly, slowly := 1, 0
					if read[i] && of.Dropped == 0 { // what was dropped may come as a last value
						slowly = 1
					}
					if of.Got != quickly+slowly || of.Got+of.Dropped+of.Closed != 2 ||
						of.Dropped > 0 && policy == Disconnect || of.Closed > 0 && policy != Disconnect {
						t.Errorf("message %d was read by the slow one: %v, and %+v", i, read[i], of.Reach)
					}
				}
				if watched < maxProbes {
					t.Errorf("%d were watched", watched)
				}
				eventually(t, func() bool { return idle(h) })
			})
		}
	}
}

func attachSlow(t *testing.T, h *Hub, secure bool) net.Conn {
	t.Helper()
	if !secure {
		_, client := link(t, h, smallBuffer)
		return client
	}
	server, client := tlsPair(t)
	h.Attach(server, Client{})
	return client
}

// counting counts what it reads.
type counting struct {
	mu sync.Mutex
	n  int
}

func (c *counting) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func attachQuick(t *testing.T, h *Hub) *counting {
	t.Helper()
	_, client := link(t, h, 0)
	c := new(counting)
	go func() {
		for {
			if _, _, _, err := readFrame(client); err != nil {
				return
			}
			c.mu.Lock()
			c.n++
			c.mu.Unlock()
		}
	}()
	return c
}

// TestWrittenIsToldAtTheEnd: of a connection that reads nothing, when it ends and when the hub does.
func TestWrittenIsToldAtTheEnd(t *testing.T) {
	for name, end := range map[string]func(*Hub, *Conn, net.Conn){
		"client": func(_ *Hub, _ *Conn, client net.Conn) { _ = client.Close() },
		"conn":   func(_ *Hub, c *Conn, _ net.Conn) { c.abort() },
		"hub": func(h *Hub, _ *Conn, _ net.Conn) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			h.Close(ctx, GoingAway, errors.New("over"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewHub(Config{Limits: Limits{QueueBytes: 8 << 20}})
			c, client := link(t, h, smallBuffer)
			var w watcher
			h.Broadcast(Message{Opcode: Text, Payload: make([]byte, 4<<20), Written: w.written(1)})
			eventually(t, func() bool { return h.longest() > 0 })
			end(h, c, client)
			if got := w.all(t, 1)[1].Reach; got != (Reach{Closed: 1}) {
				t.Errorf("%+v", got)
			}
			if !idle(h) {
				t.Error("something is watched still")
			}
			if name != "hub" {
				h.Close(context.Background(), GoingAway, errors.New("over"))
			}
		})
	}
}

// TestWrittenWaitsNoLonger for a socket that stays full.
func TestWrittenWaitsNoLonger(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 8 << 20}})
	link(t, h, smallBuffer)
	var w watcher
	h.Broadcast(Message{Opcode: Text, Payload: make([]byte, 4<<20), Written: w.written(1)})
	if got := w.all(t, 1)[1].Reach; got != (Reach{Waiting: 1}) {
		t.Errorf("%+v", got)
	}
	eventually(t, func() bool { return idle(h) })
}

// TestWrittenWhileConnectionsComeAndGo: each is counted once, whatever it does meanwhile.
func TestWrittenWhileConnectionsComeAndGo(t *testing.T) {
	h := newTestHub(t, Config{Wrap: testWrap, History: History{MaxMessages: 100}})
	var coming sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		coming.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, client := linkAs(t, h, 0, Client{Start: Start{ResumeFrom: "1"}})
				go func() { _, _ = io.Copy(io.Discard, client) }()
				for _, key := range []string{"a", "b"} {
					_ = c.Choose(&Choice{Keys: []string{key}}, nil)
				}
				_ = c.Choose(nil, nil)
				c.CloseWith(GoingAway, errors.New("enough"))
				_ = client.Close()
			}
		})
	}
	var w watcher
	counts := make(map[int]int)
	for i := range 300 {
		id := fmt.Sprint(i + 1)
		n := h.Broadcast(Message{
			Opcode: Text, ID: id, Payload: []byte("[x]"), Written: w.written(i),
			Parts: []Part{{ID: id, Key: "a", Topic: "t", From: 1, To: 2}},
		})
		if n > 0 {
			counts[i] = n
		}
		time.Sleep(100 * time.Microsecond)
	}
	close(stop)
	coming.Wait()
	for i, of := range w.all(t, len(counts)) {
		if of.Unwatched == "" && of.conns()+of.NotConcerned != counts[i] {
			t.Errorf("message %d went to %d connections: %+v", i, counts[i], of)
		}
	}
	eventually(t, func() bool { return idle(h) })
}
