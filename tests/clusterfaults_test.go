package tests

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// TestClusterLosesNothing: while messages flow to clients that come back and
// resume, each kind of process is killed and started again, and NATS is away for a
// while ($CLUSTER_OUTAGE, or 4 s). Every client gets every message, and is told of
// no gap. A message can come twice, under another event ID, only where a trigger
// was killed between storing it and acknowledging it.
func TestClusterLosesNothing(t *testing.T) {
	const every = 5 * time.Millisecond
	clients := fromEnvironment(t, "CLUSTER_CLIENTS", 300, strconv.Atoi)
	messages := fromEnvironment(t, "CLUSTER_MESSAGES", 5000, strconv.Atoi)
	outage := fromEnvironment(t, "CLUSTER_OUTAGE", 4*time.Second, time.ParseDuration)
	c := startCluster(t, 2, "a", "b", "c")
	s := startSwarm(t, clients, "ws://"+c.balancer+"/telemetry")
	p := c.publishSteadily(t, messages, every)

	// Each fault lasts for some messages, and the end of NATS for the last of them.
	faults := []*member{c.triggers[0], c.gateways[1], c.nats[0], c.triggers[1], c.gateways[0], c.nats[2], c.gateways[2], c.nats[1]}
	step := messages / (2*len(faults) + 2)
	for i, m := range faults {
		p.wait(t, step*(2*i+1))
		m.kill()
		began := time.Now()
		p.wait(t, step*(2*i+2))
		m.start()
		m.waitReady()
		t.Logf("%s was away for %v", m.name, time.Since(began).Round(time.Millisecond))
	}

	eventuallyWithin(t, 3*patience, "all clients are connected", func() bool { return s.count((*swarmClient).isOpen) == clients })
	connections := s.connections()
	for _, m := range c.nats {
		m.kill()
	}
	time.Sleep(outage) // the fault itself
	if n := s.connections(); n != connections {
		t.Errorf("while NATS was away, clients connected %d times", n-connections)
	}
	for _, m := range c.nats {
		m.start()
	}
	p.wait(t, messages)
	s.complete(t, messages)
	if n := s.connections(); n != connections {
		t.Errorf("when NATS came back, clients connected %d times", n-connections)
	}
}

// fromEnvironment is the value of a variable, for a longer run by hand.
func fromEnvironment[T any](t *testing.T, name string, value T, parse func(string) (T, error)) T {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		var err error
		if value, err = parse(text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return value
}

// TestClusterRestart: a gateway that is told to end closes its connections with
// 1012, not all at once, and their clients go on elsewhere, where they were.
func TestClusterRestart(t *testing.T) {
	const clients, messages = 60, 600
	c := startCluster(t, 1, "a", "b")
	// HAProxy takes a node for up until it has asked twice whether it is ready, and may
	// have asked too early.
	const twice = 2 * time.Second
	since, last := time.Now(), map[string]time.Time{}
	eventually(t, "both nodes take connections, and go on doing so", func() bool {
		if ws, res, err := websocket.Dial(t.Context(), "ws://"+c.balancer+"/telemetry", nil); err == nil {
			_ = ws.CloseNow()
			last[res.Header.Get("X-Yc-Apigateway-Websocket-Connection-Id")[:1]] = time.Now()
		}
		for _, node := range []string{"a", "b"} {
			if time.Since(last[node]) > twice/2 {
				since = time.Now()
			}
		}
		return time.Since(since) > twice
	})
	s := startSwarm(t, clients, "ws://"+c.balancer+"/telemetry")
	p := c.publishSteadily(t, messages, 5*time.Millisecond)
	p.wait(t, messages/3)
	c.gateways[0].signal(syscall.SIGTERM)
	if code := c.gateways[0].exitCode(shutdownTimeout); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p.wait(t, messages)
	eventuallyWithin(t, time.Minute, "every client has every message", func() bool {
		return s.count(func(c *swarmClient) bool { n, _, _ := c.has(); return n == messages }) == clients
	})
	moved := 0
	for _, c := range s.all {
		_, again, gaps := c.has()
		if again > 0 || gaps > 0 {
			t.Errorf("%d messages came twice, %d gaps were told", again, gaps)
		}
		if c.restarts.Load() != c.connections.Load()-1 {
			t.Errorf("%d connections, but %d ended with 1012", c.connections.Load(), c.restarts.Load())
		}
		if c.connections.Load() > 1 {
			moved++
		}
		if !strings.HasPrefix(c.id(), "b-") {
			t.Errorf("a client is connected as %s, after node a has ended", c.id())
		}
	}
	if moved == 0 {
		t.Error("no client was on the node that ended")
	}
	t.Logf("%d of %d clients have moved", moved, clients)
}

func (s *swarm) connections() (n int64) {
	for _, c := range s.all {
		n += c.connections.Load()
	}
	return n
}

// publishingDevices are those of a pacedPublisher.
const publishingDevices = 20

// pacedPublisher publishes the numbers from 0 on, of its devices in turn.
type pacedPublisher struct {
	accepted atomic.Int64
	failed   atomic.Pointer[error]
}

func (c *cluster) publishSteadily(t *testing.T, count int, every time.Duration) *pacedPublisher {
	t.Helper()
	p := &pacedPublisher{}
	client := c.broker.publisher()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.run(ctx, client, count, every); err != nil {
			p.failed.Store(&err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return p
}

func (p *pacedPublisher) run(ctx context.Context, client mqtt.Client, count int, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := range count {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		token := client.Publish(fmt.Sprintf("$devices/d%d/events", n%publishingDevices), 1, false, strconv.Itoa(n))
		if !token.WaitTimeout(patience) || token.Error() != nil {
			return fmt.Errorf("message %d: %w", n, token.Error())
		}
		p.accepted.Add(1)
	}
	return nil
}

// wait waits until so many messages are accepted.
func (p *pacedPublisher) wait(t *testing.T, n int) {
	t.Helper()
	eventuallyWithin(t, 3*time.Minute, strconv.Itoa(n)+" messages are accepted", func() bool {
		if err := p.failed.Load(); err != nil {
			t.Fatal(*err)
		}
		return p.accepted.Load() >= int64(n)
	})
}
