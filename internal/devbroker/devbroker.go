// Package devbroker is the MQTT broker that iotcast carries with it: a quickstart needs no second program, and the
// tests have a real broker on a real socket. It keeps everything in memory: sessions, queued and retained messages live
// as long as the process.
//
// The protocol is mochi-mqtt's. This package sizes it so that QoS 1 messages are not dropped, and closes the holes that
// a resumed session would fall into (see hook).
package devbroker

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
)

const (
	// maxPending is how many QoS 1 and 2 messages one session may have waiting. A packet ID has 16 bits: there is no
	// room for more.
	maxPending = math.MaxUint16

	// maxPacketBytes is far above the 256 KB of a message of the original service, and bounds what a client can make us
	// allocate before it has said who it is.
	maxPacketBytes = 4 << 20

	// sysTopicSeconds is the period of $SYS messages and of the warning about drops. Each round stops the world for
	// runtime.ReadMemStats: mochi's own one second is too often for a process that has other work.
	sysTopicSeconds = 10
)

// Config is all that a Broker can be told.
type Config struct {
	Address string            // host:port; port 0 takes a free one, see Broker.Addr
	Users   map[string]string // user -> password; empty: anyone may connect
}

// Broker is a running MQTT broker.
type Broker struct {
	server   *mqtt.Server
	listener *listener
	close    func() error
}

// Start binds the port and serves until Close. The log may be nil.
func Start(cfg Config, log *slog.Logger) (*Broker, error) {
	return start(cfg, log, maxPending)
}

func start(cfg Config, log *slog.Logger, pending uint16) (*Broker, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("component", "mqtt_broker")

	// Go sets TCP_NODELAY on every connection that it accepts: no 40 ms stalls here.
	ln, err := net.Listen("tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("binding the MQTT broker to %q (stop the program that holds this port, or set mqtt_broker.address to a free host:port): %w", cfg.Address, err)
	}
	b := &Broker{
		server: mqtt.New(&mqtt.Options{
			Capabilities:           capabilities(pending),
			SysTopicResendInterval: sysTopicSeconds,
			// mochi warns of each dropped message on its own, of every EOF, and with whole payloads. The hook and the
			// listener report the same, once and briefly.
			Logger: slog.New(slog.DiscardHandler),
		}),
		listener: newListener(ln, log),
	}
	b.close = sync.OnceValue(b.server.Close) // mochi panics when closed twice

	if err := b.serve(cfg.Users, log); err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("starting the MQTT broker on %s: %w", ln.Addr(), err)
	}
	log.Info("MQTT broker started", "address", ln.Addr().String(), "users", len(cfg.Users))
	if len(cfg.Users) == 0 && !isLoopback(ln.Addr()) {
		log.Warn(fmt.Sprintf("anyone who reaches %s can publish and subscribe; set mqtt_broker.users", ln.Addr()))
	}
	return b, nil
}

func (b *Broker) serve(users map[string]string, log *slog.Logger) error {
	if err := b.server.AddHook(&hook{server: b.server, users: users, log: log}, nil); err != nil {
		return err
	}
	if err := b.server.AddListener(b.listener); err != nil {
		return err
	}
	return b.server.Serve()
}

// capabilities says what mochi may refuse and forget. What is not set here keeps mochi's default: no limit on clients,
// QoS 2, retained messages, shared subscriptions, sessions that never expire.
func capabilities(pending uint16) *mqtt.Capabilities {
	c := mqtt.NewDefaultServerCapabilities()

	// Two ways to lose a QoS 1 message that was acknowledged to its publisher: the session has too many unacknowledged
	// (offline, or holding its acks), or the queue of the connection is full (reading slowly). The queue is as large as
	// the session, so that there is one limit to know. It costs half a megabyte of heap for each connection, of which
	// little is ever touched: 500 idle clients took 17 MB of memory.
	c.MaximumInflight = pending
	c.MaximumClientWritesPending = int32(pending)

	// An MQTT 3.1.1 client does not learn this limit and is cut off at it, with so many QoS 2 messages under way.
	c.ReceiveMaximum = math.MaxUint16

	// By default a message is forgotten after a day, without a word: from a session that is away, and, retained, from
	// its topic. The expiry that an MQTT 5 publisher asks for still holds.
	c.MaximumMessageExpiryInterval = 0

	c.MaximumPacketSize = maxPacketBytes
	return c
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Addr is the address that the broker is bound to, with the real port.
func (b *Broker) Addr() net.Addr { return b.listener.ln.Addr() }

// Close disconnects every client and returns when their goroutines have ended. It may be called more than once.
func (b *Broker) Close() error { return b.close() }

// Dropped counts what was lost for want of room since Start: QoS 1 and 2 messages to a session with too many
// unacknowledged, and messages of any QoS to a connection that reads too slowly.
func (b *Broker) Dropped() (inflight, messages int64) {
	return atomic.LoadInt64(&b.server.Info.InflightDropped), atomic.LoadInt64(&b.server.Info.MessagesDropped)
}
