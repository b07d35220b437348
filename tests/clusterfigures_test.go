package tests

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestClusterFigures measures what docs/cluster.md says beside what the row cluster of
// tests/bench does. It takes a minute, so only who asks for it gets it:
//
//	CLUSTER_FIGURES=1 go test -count=1 -v -run TestClusterFigures ./tests
func TestClusterFigures(t *testing.T) {
	if os.Getenv("CLUSTER_FIGURES") == "" {
		t.Skip("takes a minute: set CLUSTER_FIGURES=1")
	}
	t.Run("start of a gateway", measureRefill)
	t.Run("death of a gateway", measureDeath)
}

// oneByOne is the configuration of the triggers with an envelope for each message.
func oneByOne(t *testing.T) string {
	t.Helper()
	config, err := os.ReadFile("../config/cluster/trigger.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const gathered = "batching: { count: 100, period: 200ms }"
	if !strings.Contains(string(config), gathered) {
		t.Fatal("config/cluster/trigger.yaml does not gather as it did")
	}
	return writeFile(t, strings.Replace(string(config), gathered, "batching: { count: 1 }", 1))
}

// dialRaw opens a connection whose client costs next to nothing, so that the
// figures are those of the servers.
func dialRaw(ctx context.Context, t *testing.T, address, query string) *bufio.Reader {
	t.Helper()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	context.AfterFunc(ctx, func() { _ = nc.Close() })
	fmt.Fprintf(nc, "GET /telemetry%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", query, address)
	in := bufio.NewReaderSize(nc, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			return in
		}
	}
}

// skipFrame passes over a frame of up to 64 KiB (RFC 6455, section 5.2).
func skipFrame(in *bufio.Reader) error {
	head, err := in.Peek(4)
	if err != nil {
		return err
	}
	size := 2 + int(head[1])
	if head[1] == 126 {
		size = 4 + int(head[2])<<8 + int(head[3])
	}
	_, err = in.Discard(size)
	return err
}

// measureRefill tells how fast a gateway that has just started fills its history. A
// client that gets all of it counts.
func measureRefill(t *testing.T) {
	const envelopes = 5000
	c := startClusterWith(t, oneByOne(t), 1, "a")
	all := make([]message, envelopes)
	for n := range all {
		all[n] = message{topic: fmt.Sprintf("$devices/d%d/events", n%20), payload: fmt.Appendf(nil, `{"temperature":21.5,"n":%d}`, n)}
	}
	c.broker.publish(1, all...)
	m := c.gateways[0]
	readAll := func() (took time.Duration) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		in := dialRaw(ctx, t, m.gateway, "?rewind=5m")
		var began time.Time
		for n := range envelopes {
			if err := skipFrame(in); err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				began = time.Now()
			}
		}
		return time.Since(began)
	}
	readAll() // when all is stored
	m.kill()
	m.start()
	eventually(t, "the gateway listens", func() bool {
		nc, err := net.Dial("tcp", m.gateway)
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
	t.Logf("a history of %d envelopes is filled %v after the first of them", envelopes, readAll().Round(time.Millisecond))
}

// measureDeath tells how long clients of a gateway that is killed wait for their
// next message, on another.
func measureDeath(t *testing.T) {
	const clients, messages = 300, 1500
	c := startClusterWith(t, oneByOne(t), 1, "a", "b", "c")
	s := startSwarm(t, clients, "ws://"+c.balancer+"/telemetry")
	p := c.publishSteadily(t, messages, 20*time.Millisecond)
	p.wait(t, messages/5)
	var moving []*swarmClient
	for _, cl := range s.all {
		if strings.HasPrefix(cl.id(), "a-") {
			moving = append(moving, cl)
		}
	}
	c.gateways[0].kill()
	died := time.Now()
	served := map[*swarmClient]time.Duration{}
	eventuallyWithin(t, time.Minute, "all clients are served again", func() bool {
		for _, cl := range moving {
			if _, ok := served[cl]; ok || strings.HasPrefix(cl.id(), "a-") {
				continue
			}
			cl.mu.Lock()
			at := cl.at
			cl.mu.Unlock()
			if at.After(died) {
				served[cl] = at.Sub(died)
			}
		}
		return len(served) == len(moving)
	})
	var times []time.Duration
	for _, d := range served {
		times = append(times, d)
	}
	slices.Sort(times)
	t.Logf("%d clients, which try again after 50 ms: served again after %v (median), %v (last)", len(times),
		times[len(times)/2].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond))
}
