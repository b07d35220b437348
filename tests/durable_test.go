package tests

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/iotcast/iotcast/tests/internal/publisher"
	"github.com/iotcast/iotcast/tests/internal/subscriber"
)

// devices are topics that config/durable listens to.
var devices = []string{"$devices/boiler/events", "$devices/cellar/events", "$devices/rooftop/events"}

// startDurable runs config/durable, and returns when it is ready.
func startDurable(t *testing.T, b *broker, nats *natsServer) *iotcast {
	t.Helper()
	return startDurableStreams(t, b, nats, "../config/durable/streams")
}

func startDurableStreams(t *testing.T, b *broker, nats *natsServer, streams string) *iotcast {
	t.Helper()
	c := newIotcast(t)
	c.env = append(os.Environ(), "MQTT_URL="+b.url(), "NATS_URL="+nats.url(), "GATEWAY_ADDRESS="+c.gateway, "HTTP_ADDRESS="+c.http)
	c.launch("streams", "-o", "../config/durable/root.yaml", streams)
	c.waitLog("Launching")
	c.waitReady()
	return c
}

// subscribe starts a client that comes back and resumes, beside the test.
func subscribe(t *testing.T, s *subscriber.Subscriber) *subscriber.Subscriber {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	eventually(t, "the subscriber is connected", s.Connected)
	return s
}

// chance is a source of random faults, which a failure can be tried again with.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// upTo is a random duration.
func upTo(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(most)))
}

// checkBooks expects every number that was accepted, each topic's in order.
func checkBooks(t *testing.T, name string, s *subscriber.Subscriber, accepted int) subscriber.Books {
	t.Helper()
	books := s.Books()
	missing := books.Missing(accepted)
	t.Logf("%s: %d accepted by the broker, %d missing, %d came twice, %d connections, %d gaps told",
		name, accepted, len(missing), books.Twice, books.Connections, len(books.Gaps))
	for _, n := range missing {
		if !books.Told(n) {
			t.Errorf("%s: number %d was accepted by the broker, has not arrived, and no gap tells of it: %v", name, n, books.Gaps)
		}
	}
	if books.OutOfOrder > 0 {
		t.Errorf("%s: %d messages came after later ones of their topic", name, books.OutOfOrder)
	}
	if books.Failure != "" {
		t.Errorf("%s: %s", name, books.Failure)
	}
	return books
}

// iotcast is killed twenty times while messages flow, at random instants, those
// of its start included, and NATS now and then. With config/durable nothing is missing.
func TestDurableKilled(t *testing.T) {
	t.Parallel()
	const kills = 20
	random := chance(t)
	b := startMosquitto(t)
	nats := startNATS(t)
	cast := startDurable(t, b, nats)
	clients := []*subscriber.Subscriber{
		subscribe(t, &subscriber.Subscriber{URL: cast.url("/telemetry")}),
		subscribe(t, &subscriber.Subscriber{URL: cast.url("/telemetry")}),
	}
	p := &publisher.Publisher{Addr: b.addr, Topics: devices, Window: 50, Interval: 2 * time.Millisecond}
	done := startPublisher(t, p, 2*time.Minute)
	eventually(t, "messages flow", func() bool { return clients[0].Top() > 100 && clients[1].Top() > 100 })
	for i := range kills {
		if i%2 == 0 { // while all works; else at any time, that of a start included
			top := clients[1].Top()
			eventually(t, "messages flow", func() bool { return clients[1].Top() > top+20 })
		}
		time.Sleep(upTo(random, 400*time.Millisecond))
		if i%5 == 4 {
			nats.kill()
			time.Sleep(upTo(random, 400*time.Millisecond))
			nats.start()
		}
		clients[0].Cut(upTo(random, time.Second)) // the other is connected whenever it can be
		cast.kill()
		cast.relaunch()
	}
	p.Stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	accepted := p.Accepted()
	for i, c := range clients {
		eventuallyWithin(t, time.Minute, "everything has arrived", func() bool { return c.Has(accepted - 1) })
		books := checkBooks(t, []string{"that is cut", "that stays"}[i], c, accepted)
		if len(books.Gaps) > 0 {
			t.Errorf("gaps: %v", books.Gaps)
		}
	}
}

// A client that was at one process resumes at another, which has no trigger.
func TestDurableElsewhere(t *testing.T) {
	t.Parallel()
	const half = 200
	b := startMosquitto(t)
	nats := startNATS(t)
	one := startDurable(t, b, nats)
	publish := func(first, last int) {
		var all []message
		for n := first; n < last; n++ {
			all = append(all, message{topic: devices[0], payload: strconv.AppendInt(nil, int64(n), 10)})
		}
		b.publish(1, all...)
	}
	ctx, leave := context.WithCancel(t.Context())
	here := &subscriber.Subscriber{URL: one.url("/telemetry")}
	left := make(chan struct{})
	go func() {
		defer close(left)
		here.Run(ctx)
	}()
	eventually(t, "the subscriber is connected", here.Connected)
	publish(0, half)
	eventually(t, "the first half has arrived", func() bool { return here.Has(half - 1) })
	leave()
	<-left

	publish(half, 2*half)
	other := startDurableStreams(t, b, nats, "../config/durable/streams/gateway.yaml")
	there := subscribe(t, &subscriber.Subscriber{URL: other.url("/telemetry"), Last: here.Last})
	eventually(t, "the second half has arrived", func() bool { return there.Has(2*half - 1) })
	if books := there.Books(); books.First != half || books.Arrived != half || len(books.Gaps) > 0 {
		t.Errorf("resumed at %d with %d messages and the gaps %v, want %d from %d on", books.First, books.Arrived, books.Gaps, half, half)
	}
}

// With the history in memory, a client that comes back to a new process is told
// of a gap, and what it has missed is within that.
func TestMemoryKilled(t *testing.T) {
	t.Parallel()
	const kills = 8
	random := chance(t)
	b := startMosquitto(t)
	cast := runIotcastWith(t, historyRoot, trigger(b, "broker_id: factory\nclient_id: iotcast-memory\nclean_session: false", ""))
	c := subscribe(t, &subscriber.Subscriber{URL: cast.url("/telemetry")})
	p := &publisher.Publisher{Addr: b.addr, Topics: []string{"hall/press", "hall/oven"}, Window: 50, Interval: 3 * time.Millisecond}
	done := startPublisher(t, p, 2*time.Minute)
	for range kills {
		// Connected and served, so that each kill hits a client that resumes.
		top := c.Top()
		eventually(t, "messages flow", func() bool { return c.Top() > top+50 })
		time.Sleep(upTo(random, 200*time.Millisecond))
		cast.kill()
		cast.relaunch()
	}
	p.Stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventuallyWithin(t, time.Minute, "the end has arrived", func() bool { return c.Has(p.Accepted() - 1) })
	books := checkBooks(t, "client", c, p.Accepted())
	for _, g := range books.Gaps {
		if g.Reason != "history" {
			t.Errorf("gap %v, want the reason history", g)
		}
	}
	// Two kills may be one loss for a client that had not come back yet.
	if back := books.Connections - 1; len(books.Gaps) != back || back == 0 {
		t.Errorf("%d gaps were told, the client came back %d times", len(books.Gaps), back)
	}
}

// More has come while iotcast was away than it takes at once, from a broker that
// sends all of it before it answers to anything else.
func TestBacklog(t *testing.T) {
	t.Parallel()
	const messages = 2000
	b := startMosquitto(t, "max_inflight_messages 0")
	cast := runIotcastWith(t, historyRoot, trigger(b, "broker_id: factory\nclient_id: iotcast-backlog\nclean_session: false\nmax_unacked: 100", ""))
	cast.terminate()
	p := &publisher.Publisher{Addr: b.addr, Topics: []string{"hall/press"}, Count: messages, Window: 100}
	if err := <-startPublisher(t, p, time.Minute); err != nil {
		t.Fatal(err)
	}
	cast.relaunch()
	c := subscribe(t, &subscriber.Subscriber{URL: cast.url("/telemetry"), Last: "unknown"})
	eventually(t, "the backlog has arrived", func() bool { return c.Has(messages - 1) })
	books := checkBooks(t, "client", c, messages)
	if missing := books.Missing(messages); len(missing) > 0 {
		t.Errorf("%d are missing", len(missing))
	}
}

// historyRoot keeps histories in memory, and compresses for those that ask.
func historyRoot(gateway, http string) string {
	return `
http: { address: "` + http + `" }
logger: { level: INFO, format: logfmt }
metrics: { prometheus: {} }
websocket_gateways:
  - label: main
    address: "` + gateway + `"
    compression: true
    routes:
      - path: /telemetry
        history: { max_messages: 100000 }
      - path: /alarms
        history: { max_messages: 100000 }
`
}

// runIotcastWith runs one trigger with a root of the test's own.
func runIotcastWith(t *testing.T, root func(gateway, http string) string, stream string) *iotcast {
	t.Helper()
	c := newIotcast(t)
	c.launch("run", writeFile(t, root(c.gateway, c.http)+stream))
	c.waitLog("Launching")
	c.waitReady()
	return c
}
