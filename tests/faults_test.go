package tests

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/iotcast/iotcast/tests/internal/proxy"
	"github.com/iotcast/iotcast/tests/internal/publisher"
	"github.com/iotcast/iotcast/tests/internal/subscriber"
)

func startProxy(t *testing.T, to string) *proxy.Proxy {
	t.Helper()
	p, err := proxy.New(to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// lostConnections is how often iotcast has logged the loss of its connection.
func (c *iotcast) lostConnections() int {
	return strings.Count(c.out.String(), "Connection to the MQTT broker lost")
}

func (c *iotcast) ready() bool {
	status, _ := c.tryRequest(http.MethodGet, "/ready", "")
	return status == http.StatusOK
}

// The network between iotcast and its broker is cut, is silent, is slow. Each is
// noticed within the keepalive, logged once, and seen in /ready and the metrics;
// then iotcast goes on, and nothing is missing. A session that the broker has
// lost is reported.
func TestNetwork(t *testing.T) {
	t.Parallel()
	const keepalive = 2 * time.Second
	b := startMosquitto(t)
	network := startProxy(t, b.addr)
	config := trigger(b, "broker_id: factory\nclient_id: iotcast-network\nclean_session: false\nkeepalive: 2s", "")
	cast := runIotcastWith(t, historyRoot, strings.ReplaceAll(config, b.addr, network.Addr()))
	c := subscribe(t, &subscriber.Subscriber{URL: cast.url("/telemetry")})
	p := &publisher.Publisher{Addr: b.addr, Topics: []string{"hall/press", "hall/oven"}, Window: 50, Interval: 2 * time.Millisecond}
	done := startPublisher(t, p, 2*time.Minute)
	flows := func() {
		t.Helper()
		cast.waitReady()
		accepted := p.Accepted()
		eventually(t, "messages flow", func() bool { return c.Top() > accepted })
	}
	flows()
	for i, fault := range []struct {
		name    string
		begin   func()
		noticed time.Duration
	}{
		{"cut", network.Cut, keepalive},
		// The probe goes out when nothing has come for the keepalive, and fails
		// after another.
		{"silent", network.Swallow, 2 * keepalive},
	} {
		began := time.Now()
		fault.begin()
		eventually(t, fault.name+": iotcast is not ready", func() bool { return !cast.ready() })
		// What the machine is slow by is not iotcast's.
		if took := time.Since(began); took > fault.noticed+5*time.Second {
			t.Errorf("%s: noticed after %v, the keepalive is %v", fault.name, took, keepalive)
		}
		if n := cast.lostConnections(); n != i+1 {
			t.Errorf("%s: the loss was logged %d times, want %d", fault.name, n, i+1)
		}
		if n := cast.metric("input_connection_lost", ""); n != float64(i+1) {
			t.Errorf("%s: input_connection_lost is %v, want %d", fault.name, n, i+1)
		}
		network.Mend()
		flows()
	}
	network.Delay(100 * time.Millisecond)
	flows()
	network.Mend()
	flows()
	if n := cast.lostConnections(); n != 2 {
		t.Errorf("a slow network cost %d connections", n-2)
	}
	p.Stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything has arrived", func() bool { return c.Has(p.Accepted() - 1) })
	if books := checkBooks(t, "client", c, p.Accepted()); books.Connections != 1 || len(books.Gaps) > 0 {
		t.Errorf("%d connections, gaps %v: want one connection, that has noticed nothing", books.Connections, books.Gaps)
	}

	// This broker keeps its sessions in memory.
	b.kill()
	eventually(t, "iotcast is not ready", func() bool { return !cast.ready() })
	b.start()
	cast.waitLog("The MQTT broker has lost the session")
	cast.waitReady()
	if n := cast.metric("iot_mqtt_session_lost", ""); n != 1 {
		t.Errorf("iot_mqtt_session_lost is %v, want 1", n)
	}
}

// Clients that are cut off at random get each message once, compressed or not,
// on several routes.
func TestResumeAtRandom(t *testing.T) {
	t.Parallel()
	const messages = 5000
	random := chance(t)
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launch("streams", "-o", writeFile(t, historyRoot(cast.gateway, cast.http)))
	cast.waitLog("Launching")
	topics := []string{"hall/press", "hall/oven"}
	paths := []string{"/telemetry", "/alarms"}
	for i, topic := range topics {
		cast.must(http.MethodPost, fmt.Sprintf("/streams/trigger-%d", i),
			trigger(b, "broker_id: factory\ntopics: [ "+topic+" ]\nbatching: { count: 5, period: 20ms }", "path: "+paths[i]))
	}
	cast.waitReady()
	var clients []*subscriber.Subscriber
	for i := range 4 {
		clients = append(clients, subscribe(t, &subscriber.Subscriber{URL: cast.url(paths[i%2]), Compressed: i > 1}))
	}
	p := &publisher.Publisher{Addr: b.addr, Topics: topics, Count: messages, Window: 50, Interval: time.Millisecond}
	done := startPublisher(t, p, 2*time.Minute)
	// Who has seen nothing has nothing to resume from.
	eventually(t, "all have begun", func() bool {
		for _, c := range clients {
			if c.Top() < 0 {
				return false
			}
		}
		return true
	})
	for p.Accepted() < messages*9/10 {
		clients[random.IntN(len(clients))].Cut(upTo(random, 300*time.Millisecond))
		time.Sleep(upTo(random, 100*time.Millisecond))
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, c := range clients {
		last := messages - 2 + i%2
		eventually(t, "everything has arrived", func() bool { return c.Has(last) })
		books := c.Books()
		missing := 0
		for n := i % 2; n < messages; n += 2 {
			if !c.Has(n) {
				missing++
			}
		}
		t.Logf("client %d: %d connections", i, books.Connections)
		if missing > 0 || books.Twice > 0 || books.OutOfOrder > 0 || len(books.Gaps) > 0 ||
			books.Failure != "" || books.Arrived != messages/2 {
			t.Errorf("client %d: %d missing, %d arrived, %d twice, %d out of order, gaps %v, failure %q",
				i, missing, books.Arrived, books.Twice, books.OutOfOrder, books.Gaps, books.Failure)
		}
		if books.Connections < 3 {
			t.Errorf("client %d: only %d connections", i, books.Connections)
		}
	}
}

// SIGTERM, and an update of the stream, while messages flow: nothing is lost, and
// at most what was in flight comes twice. Clients stay connected through an
// update.
func TestRestartUnderLoad(t *testing.T) {
	t.Parallel()
	const (
		times    = 4
		inFlight = 100
	)
	b := startMosquitto(t)
	cast := newIotcast(t)
	stream := trigger(b, "broker_id: factory\nclient_id: iotcast-restart\nclean_session: false\nmax_unacked: 100\nbatching: { count: 5, period: 20ms }", "")
	cast.launch("streams", "-o", writeFile(t, historyRoot(cast.gateway, cast.http)), writeFile(t, stream))
	cast.waitLog("Launching")
	cast.waitReady()
	c := subscribe(t, &subscriber.Subscriber{URL: cast.url("/telemetry")})
	p := &publisher.Publisher{Addr: b.addr, Topics: []string{"hall/press", "hall/oven"}, Window: 50, Interval: time.Millisecond}
	done := startPublisher(t, p, 2*time.Minute)
	flows := func() {
		t.Helper()
		accepted := p.Accepted()
		eventually(t, "messages flow", func() bool { return c.Top() > accepted })
	}
	flows()
	for range times {
		cast.must(http.MethodPut, "/streams/iotcast", stream)
		flows()
	}
	if books := c.Books(); books.Connections != 1 || len(books.Gaps) > 0 {
		t.Errorf("%d connections and the gaps %v after updates", books.Connections, books.Gaps)
	}
	for range times {
		cast.terminate()
		cast.relaunch()
		flows()
	}
	p.Stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, "everything has arrived", func() bool { return c.Has(p.Accepted() - 1) })
	books := checkBooks(t, "client", c, p.Accepted())
	if missing := books.Missing(p.Accepted()); len(missing) > 0 {
		t.Errorf("missing: %v", missing)
	}
	if books.Twice > 2*times*inFlight {
		t.Errorf("%d came twice, and at most %d were in flight at any of %d ends", books.Twice, inFlight, 2*times)
	}
}
