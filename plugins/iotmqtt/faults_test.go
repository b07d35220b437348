package iotmqtt_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/redpanda-data/benthos/v4/public/service"
)

// network is a TCP proxy in front of a broker that can go dark: connections stay
// open, and what is sent on those that were there is swallowed.
type network struct {
	port  string
	mu    sync.Mutex
	dark  []*atomic.Bool
	conns []net.Conn
	up    atomic.Int64 // pieces that went to the broker
}

func newNetwork(t *testing.T, broker string) *network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{}
	_, n.port, _ = net.SplitHostPort(l.Addr().String())
	var all sync.WaitGroup
	pass := func(from, to net.Conn, dark *atomic.Bool, up *atomic.Int64) {
		defer func() {
			if !dark.Load() { // else nobody is told
				_ = from.Close()
				_ = to.Close()
			}
		}()
		buf := make([]byte, 4096)
		for {
			k, err := from.Read(buf)
			if err != nil {
				return
			}
			if dark.Load() {
				continue
			}
			if _, err := to.Write(buf[:k]); err != nil {
				return
			}
			if up != nil {
				up.Add(1)
			}
		}
	}
	all.Go(func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", "127.0.0.1:"+broker)
			if err != nil {
				_ = down.Close()
				continue
			}
			dark := new(atomic.Bool)
			n.mu.Lock()
			n.dark, n.conns = append(n.dark, dark), append(n.conns, down, up)
			n.mu.Unlock()
			all.Go(func() { pass(down, up, dark, &n.up) })
			all.Go(func() { pass(up, down, dark, nil) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		n.mu.Lock()
		for _, c := range n.conns {
			_ = c.Close()
		}
		n.mu.Unlock()
		all.Wait()
	})
	return n
}

// cut closes all connections.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		_ = c.Close()
	}
}

func (n *network) goDark() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.dark {
		d.Store(true)
	}
}

func (n *network) connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.dark)
}

// The keep-alive is of two seconds, since the embedded broker rounds one and a half
// down to one.

// TestHalfOpenConnection: one on which nothing comes any more, and which nobody
// has closed, is found out by the keep-alive, reported once, and replaced.
func TestHalfOpenConnection(t *testing.T) {
	t.Parallel()
	_, port := startBroker(t)
	n := newNetwork(t, port)
	var got received
	logs := run(t, n.port, "broker_id: b\nclient_id: half-open\nclean_session: false\nkeepalive: 2s", got.add)
	publish := publisher(t, port)
	publish("t", 1, "before")
	eventually(t, func() bool { return len(got.payloads()) == 1 })
	n.goDark()
	publish("t", 1, "meanwhile")
	logs.waitFor(t, "nothing came from the MQTT broker for 3s")
	// The first may come again: its acknowledgement may have been swallowed, too.
	eventually(t, func() bool { return slices.Contains(got.payloads(), "meanwhile") })
	if lost, made := logs.count("Connection to the MQTT broker lost"), n.connections(); lost != 1 || made != 2 {
		t.Errorf("%d connections were reported lost, %d were made", lost, made)
	}
}

// TestIdleConnectionStays although nothing but pings is sent on it.
func TestIdleConnectionStays(t *testing.T) {
	t.Parallel()
	_, port := startBroker(t)
	n := newNetwork(t, port)
	logs := run(t, n.port, "broker_id: b\nkeepalive: 2s", func(context.Context, service.MessageBatch) error { return nil })
	before := n.up.Load()
	eventually(t, func() bool { return n.up.Load() >= before+3 }) // pings: longer than any limit on silence
	if lost := logs.count("Connection to the MQTT broker lost"); lost != 0 {
		t.Errorf("%d connections were lost", lost)
	}
}

// TestStolenClientID: another client with the same client ID, which connects again
// whenever it is thrown off, is hinted at once, and not fought as fast as can be.
func TestStolenClientID(t *testing.T) {
	t.Parallel()
	_, port := startBroker(t)
	logs := run(t, port, "broker_id: b\nclient_id: mine", func(context.Context, service.MessageBatch) error { return nil })

	thrownOff, done := make(chan struct{}, 1000), make(chan struct{})
	var ended sync.WaitGroup
	t.Cleanup(ended.Wait)
	t.Cleanup(func() { close(done) })
	ended.Go(func() {
		for {
			lost := make(chan struct{})
			rival := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://127.0.0.1:" + port).SetClientID("mine").
				SetAutoReconnect(false).SetConnectionLostHandler(func(mqtt.Client, error) { close(lost) }))
			if tok := rival.Connect(); tok.Wait() && tok.Error() != nil {
				continue
			}
			select {
			case <-lost:
				thrownOff <- struct{}{}
			case <-done:
				rival.Disconnect(100)
				return
			}
		}
	})

	logs.waitFor(t, "same client_id")
	before := len(thrownOff)
	// The next one is a second away, and the one after it two: a fight without end
	// would show as dozens.
	eventually(t, func() bool { return len(thrownOff) >= before+2 })
	if n := logs.count("same client_id"); n != 1 {
		t.Errorf("hinted %d times", n)
	}
	if n := logs.count("Subscribed"); n > 6 {
		t.Errorf("connected %d times", n)
	}
}
