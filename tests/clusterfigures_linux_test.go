package tests

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestClusterFigures measures what docs/cluster.md and docs/capacity say. It takes
// minutes, so only who asks for it gets it:
//
//	CLUSTER_FIGURES=1 go test -count=1 -v -run TestClusterFigures ./tests
func TestClusterFigures(t *testing.T) {
	if os.Getenv("CLUSTER_FIGURES") == "" {
		t.Skip("takes minutes: set CLUSTER_FIGURES=1")
	}
	t.Run("single process", func(t *testing.T) {
		b := startMosquitto(t)
		cast := runIotcast(t, trigger(b, "registry_id: r\nclient_id: single\nclean_session: false\nbatching: { count: 1 }", ""))
		measureFlood(t, b, 500, []string{cast.gateway}, map[string][]*process{"iotcast": {cast.process}})
		measureLatency(t, b, cast.gateway)
	})
	for _, nodes := range [][]string{{"a"}, {"a", "b"}} {
		t.Run(fmt.Sprintf("cluster of %d gateways", len(nodes)), func(t *testing.T) {
			c := startClusterWith(t, oneByOne(t), 1, nodes...)
			parts := map[string][]*process{"triggers": processes(c.triggers), "NATS": processes(c.nats), "gateways": processes(c.gateways)}
			var addresses []string
			for _, g := range c.gateways {
				addresses = append(addresses, g.gateway)
			}
			measureFlood(t, c.broker, len(nodes), addresses, parts) // what it costs to store and to read
			measureFlood(t, c.broker, 500, addresses, parts)
			measureLatency(t, c.broker, addresses[0])
			measureRefill(t, c.gateways[0])
		})
	}
	t.Run("death of a gateway", measureDeath)
}

// oneByOne is the configuration of the triggers with an envelope for each message,
// as that of the single process.
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
	path := filepath.Join(t.TempDir(), "trigger.yaml")
	if err := os.WriteFile(path, []byte(strings.Replace(string(config), gathered, "batching: { count: 1 }", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func processes(members []*member) (all []*process) {
	for _, m := range members {
		all = append(all, m.process)
	}
	return all
}

// cpu is what a process has used so far. It is in ticks of 10 ms (proc(5)).
func cpu(t *testing.T, p *process) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var ticks int
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// measureFlood sends messages as fast as they are taken, to clients that count
// them, and tells the rate and the CPU time of each part.
func measureFlood(t *testing.T, b *broker, clients int, gateways []string, parts map[string][]*process) {
	t.Helper()
	const messages = 5000
	var received atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	for i := range clients {
		in := dialRaw(ctx, t, gateways[i%len(gateways)], "")
		readers.Go(func() {
			for skipFrame(in) == nil {
				received.Add(1)
			}
		})
	}
	before := map[string]time.Duration{}
	for name, all := range parts {
		for _, p := range all {
			before[name] += cpu(t, p)
		}
	}
	began := time.Now()
	all := make([]message, messages)
	for n := range all {
		all[n] = message{topic: fmt.Sprintf("$devices/d%d/events", n%20), payload: fmt.Appendf(nil, `{"temperature":21.5,"n":%d}`, n)}
	}
	b.publish(1, all...)
	eventuallyWithin(t, 5*time.Minute, "all has come", func() bool { return received.Load() >= int64(clients*messages) })
	took := time.Since(began)
	deliveries := float64(clients * messages)
	t.Logf("%d envelopes to %d clients in %.1f s: %.0f envelopes/s, %.0f deliveries/s", messages, clients, took.Seconds(), messages/took.Seconds(), deliveries/took.Seconds())
	for name, all := range parts {
		used := -before[name]
		for _, p := range all {
			used += cpu(t, p)
		}
		t.Logf("%s: %.2f s of CPU: %.0f µs an envelope, %.2f s a million deliveries", name, used.Seconds(), used.Seconds()/messages*1e6, used.Seconds()/deliveries*1e6)
	}
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

// measureLatency tells how long it takes from a device to a client, at 20 messages a
// second.
func measureLatency(t *testing.T, b *broker, gateway string) {
	t.Helper()
	const messages, every = 200, 50 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	in := dialRaw(ctx, t, gateway, "")
	sent, arrived := make([]time.Time, messages), make([]time.Time, messages)
	done := make(chan error, 1)
	go func() {
		for n := range arrived {
			if err := skipFrame(in); err != nil {
				done <- err
				return
			}
			arrived[n] = time.Now()
		}
		done <- nil
	}()
	client := b.publisher()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := range sent {
		<-tick.C
		sent[n] = time.Now()
		client.Publish("$devices/d0/events", 1, false, `{"temperature":21.5}`)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("not all has come")
	}
	latencies := make([]time.Duration, messages)
	for n := range latencies {
		latencies[n] = arrived[n].Sub(sent[n])
	}
	slices.Sort(latencies)
	t.Logf("at %v between messages, from device to client: %v (median), %v (99 %%)", every,
		latencies[messages/2].Round(10*time.Microsecond), latencies[messages*99/100].Round(10*time.Microsecond))
}

// measureRefill tells how fast a gateway that has just started fills its history. A
// client that gets all of it counts.
func measureRefill(t *testing.T, m *member) {
	t.Helper()
	const envelopes = 5000
	m.kill()
	m.start()
	var nc net.Conn
	eventually(t, "the gateway listens", func() (ok bool) {
		var err error
		nc, err = net.Dial("tcp", m.gateway)
		return err == nil
	})
	nc.Close()
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
	t.Logf("a history of %d envelopes is filled %v after the first of them", envelopes, time.Since(began).Round(time.Millisecond))
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
