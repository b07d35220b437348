package iotmqtt_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// TestFilteredBatches: as many as there may be, they take no memory that stays.
func TestFilteredBatches(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var got received
	run(t, port, `
broker_id: b
batching:
  count: 1
  processors:
    - mapping: 'root = if content() == "last" { content() } else { deleted() }'
`, got.add)
	stacks := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.StackInuse
	}
	send := func(n int) {
		before := len(got.payloads())
		for range n {
			publish("a", 0, "")
		}
		publish("a", 1, "last")
		eventually(t, func() bool { return len(got.payloads()) > before })
	}
	send(100)
	before := stacks()
	send(5000)
	if after := stacks(); after > before+1<<20 {
		t.Errorf("stacks have grown from %d to %d KiB", before>>10, after>>10)
	}
}

// TestCountAboveMaxUnacked: a batch that cannot be full goes as it is, and the log
// says why.
func TestCountAboveMaxUnacked(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var got received
	logs := run(t, port, "broker_id: b\nclient_id: c\nclean_session: false\nmax_unacked: 100\nbatching: { count: 200, period: '' }", got.add)
	const messages, held = 1000, 100
	for i := range messages {
		publish("t", 1, strconv.Itoa(i))
	}
	// Without a period the last may stay in a batch that is not full.
	eventually(t, func() bool { return len(got.payloads()) > messages-held })
	logs.waitFor(t, "no more messages than max_unacked")
	if n := logs.count("no more messages than max_unacked"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	for i, p := range got.payloads() {
		if p != strconv.Itoa(i) {
			t.Fatalf("message %d is %s", i, p)
		}
	}
}

// TestFullWindowOfACleanSession: the broker keeps nothing for it, so what finds no
// room is dropped and counted, and the connection stays; no more is held than
// max_unacked allows, and what is held arrives.
func TestFullWindowOfACleanSession(t *testing.T) {
	t.Parallel()
	_, port := startBroker(t)
	publish := publisher(t, port)
	var mu sync.Mutex
	down := true
	handed := map[string]int{}
	var got received
	logs := run(t, port, "broker_id: b\nmax_unacked: 10\nkeepalive: 2s", func(ctx context.Context, b service.MessageBatch) error {
		mu.Lock()
		defer mu.Unlock()
		if !down {
			return got.add(ctx, b)
		}
		for _, m := range b {
			p, _ := m.AsBytes()
			handed[string(p)]++
		}
		return errors.New("down")
	})
	const messages = 500
	qos := byte(1)
	if protocol == "5" {
		qos = 0 // of the others, MQTT 5 lets the broker send no more than there is room for
	}
	for i := range messages {
		publish("t", qos, fmt.Sprintf("%03d", i))
	}
	logs.waitFor(t, "Messages were dropped")
	mu.Lock()
	if len(handed) > 10 {
		t.Errorf("%d messages are held, of 10", len(handed))
	}
	down = false
	mu.Unlock()
	eventually(t, func() bool { return len(got.payloads()) >= 10 })
	publish("t", 1, "last")
	eventually(t, func() bool { return slices.Contains(got.payloads(), "last") })
	if lost := logs.count("Connection to the MQTT broker lost"); lost != 0 {
		t.Errorf("%d connections were lost", lost)
	}
}

// TestHeldByALostSession: rejected batches of a lost connection take the room of new
// messages, and come all the same.
func TestHeldByALostSession(t *testing.T) {
	t.Parallel()
	_, port := startBroker(t)
	n := newNetwork(t, port)
	publish := publisher(t, port)
	var mu sync.Mutex
	down, seen := true, map[string]int{}
	var got received
	logs := run(t, n.port, "broker_id: b\nmax_unacked: 10\nkeepalive: 600s", func(ctx context.Context, b service.MessageBatch) error {
		mu.Lock()
		defer mu.Unlock()
		p, _ := b[0].AsBytes()
		seen[string(p)]++
		if !down {
			return got.add(ctx, b)
		}
		return errors.New("down")
	})
	for round := range 3 {
		for i := range 5 {
			publish("t", 1, fmt.Sprint(round, i))
		}
		if round == 2 {
			break // there is room for two rounds
		}
		eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 5*(round+1) })
		n.cut()
		eventually(t, func() bool { return logs.count("Subscribed on") == round+2 })
	}
	mu.Lock()
	clear(seen)
	mu.Unlock()
	eventually(t, func() bool { // each that is held has come again, twice
		mu.Lock()
		defer mu.Unlock()
		again := 0
		for _, n := range seen {
			if n >= 2 {
				again++
			}
		}
		return again >= 10
	})
	mu.Lock()
	if len(seen) != 10 {
		t.Errorf("%d messages are held, of 10", len(seen))
	}
	down = false
	mu.Unlock()
	eventually(t, func() bool { return len(got.payloads()) == 15 })
}
