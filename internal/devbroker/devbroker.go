// Package devbroker is the MQTT broker that iotcast carries with it: a quickstart needs no second program, the tests have a
// real broker on a real socket, and with registries it is a small IoT Core. Without a file it keeps everything in memory:
// sessions, queued and retained messages live as long as the process.
//
// The protocol is mochi-mqtt's. This package sizes it so that QoS 1 messages are not dropped, closes the holes that a
// resumed session would fall into (see hook), and adds what makes topics of a registry: who is who, who may publish and
// subscribe where, aliases, permanent topics and monitoring.
package devbroker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/certs"
	"github.com/iotcast/iotcast/internal/listen"
	"github.com/iotcast/iotcast/internal/origin"
	"github.com/iotcast/iotcast/internal/registry"
)

const (
	// maxPending is how many QoS 1 and 2 messages one session may have waiting. A packet ID has 16 bits: there is no
	// room for more.
	maxPending = math.MaxUint16

	// maxPacketBytes is far above the 256 KB of a message of the original service, and bounds what a client can make us
	// allocate before it has said who it is.
	maxPacketBytes = 4 << 20

	// maxTopicAlias is how many topics an MQTT 5 client may give a number. A topic has up to 64 KB, and this many are kept for
	// each connection.
	maxTopicAlias = 1000

	// sysTopicSeconds is the period of $SYS messages and of the warning about drops. Each round stops the world for
	// runtime.ReadMemStats: mochi's own one second is too often for a process that has other work.
	sysTopicSeconds = 10
)

// Config is all that a Broker can be told. An address is host:port; port 0 takes a free one, and an empty address means no
// such listener.
type Config struct {
	Address   string // of MQTT over TCP
	TLS       TLS
	WebSocket WebSocket
	Users     map[string]string   // user -> password; empty: anyone may connect, unless there is a Directory
	Directory *registry.Directory // who may connect, and what they publish and subscribe to; nil: anyone, everything
	Limits    Limits              // what clients may cost
	File      string              // keeps sessions and retained messages; empty: they live as long as the process
}

// TLS is the listener of MQTT over TLS, and the server's certificate, in PEM. The files are read again when they change.
type TLS struct {
	Address, CertFile, KeyFile string
}

// WebSocket is the listener of MQTT over WebSocket.
type WebSocket struct {
	Address        string
	Path           string
	TLS            bool     // with the certificate of TLS
	AllowedOrigins []string // of web pages, beside those of the same host: patterns
}

// Broker is a running MQTT broker.
type Broker struct {
	server    *mqtt.Server
	hook      *hook
	listeners []*listener
	close     func() error
}

// Start binds the ports and serves until Close. The log may be nil.
func Start(cfg Config, log *slog.Logger) (*Broker, error) {
	return start(cfg, log, maxPending)
}

func start(cfg Config, log *slog.Logger, pending uint16) (*Broker, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("component", "mqtt_broker")
	if cfg.Directory != nil && len(cfg.Users) > 0 {
		return nil, errors.New("mqtt_broker.users and iot_registries or iot_brokers are both set: with registries or brokers, only these log in, so remove the users")
	}
	b := &Broker{
		server: mqtt.New(&mqtt.Options{
			Capabilities:           capabilities(pending),
			SysTopicResendInterval: sysTopicSeconds,
			// Each packet goes to conn at once, which gathers them. In a buffer of mochi's, one would wait for the next, and
			// that for the client to have read the one before.
			ClientNetWriteBufferSize: 1,
			// mochi warns of each dropped message on its own, of every EOF, and with whole payloads. The hook and the
			// listener report the same, once and briefly.
			Logger: slog.New(slog.DiscardHandler),
		}),
	}
	b.close = sync.OnceValue(b.server.Close) // mochi panics when closed twice

	if err := b.listen(cfg, log); err != nil {
		b.unbind()
		return nil, err
	}
	if err := b.serve(cfg, log); err != nil {
		b.unbind()
		return nil, fmt.Errorf("starting the MQTT broker: %w", err)
	}
	for _, l := range b.listeners {
		log.Info("MQTT broker started", "listener", l.id, "address", l.Address(), "users", len(cfg.Users), "registries", cfg.Directory != nil)
		if cfg.Directory == nil && len(cfg.Users) == 0 && !isLoopback(l.ln.Addr()) {
			log.Warn(fmt.Sprintf("anyone who reaches %s can publish and subscribe; set mqtt_broker.users, or iot_registries", l.ln.Addr()))
		}
	}
	return b, nil
}

// The listeners, by ID.
const (
	tcpListener  = "tcp"
	tlsListener  = "tls"
	httpListener = "websocket"
)

// listen binds the ports.
func (b *Broker) listen(cfg Config, log *slog.Logger) error {
	var secure *tls.Config
	if cfg.TLS.CertFile != "" || cfg.TLS.KeyFile != "" {
		files := certs.Config{CertFile: cfg.TLS.CertFile, KeyFile: cfg.TLS.KeyFile, MinVersion: tls.VersionTLS12}
		if cfg.Directory != nil {
			// Any: a certificate is known by its fingerprint, and not by who has signed it.
			files.ClientAuth = tls.RequestClientCert
		}
		var err error
		if secure, err = files.Server(log); err != nil {
			return fmt.Errorf("mqtt_broker.tls: %w", err)
		}
	}
	if secure == nil && (cfg.TLS.Address != "" || cfg.WebSocket.Address != "" && cfg.WebSocket.TLS) {
		return errors.New("mqtt_broker.tls needs cert_file and key_file")
	}
	if err := origin.Check(cfg.WebSocket.AllowedOrigins); err != nil {
		return fmt.Errorf("mqtt_broker.websocket.allowed_origins: %w", err)
	}
	for _, l := range []struct {
		id, field, address string
		secure             bool
	}{
		{tcpListener, "address", cfg.Address, false},
		{tlsListener, "tls.address", cfg.TLS.Address, true},
		{httpListener, "websocket.address", cfg.WebSocket.Address, cfg.WebSocket.TLS},
	} {
		if l.address == "" {
			continue
		}
		// Go sets TCP_NODELAY on every connection that it accepts: no 40 ms stalls here.
		bound, err := listen.TCP(l.address, nil, log.With("listener", l.id))
		if err != nil {
			return fmt.Errorf("mqtt_broker.%s: binding the MQTT broker %w", l.field, err)
		}
		var ln net.Listener = bound
		if l.secure {
			secure := secure.Clone()
			if l.id == tlsListener {
				secure.NextProtos = nil // any: it is MQTT, whatever a client calls it
			}
			ln = tls.NewListener(ln, secure)
		}
		if l.id == httpListener {
			ln = newWebSocketListener(ln, cfg.WebSocket)
		}
		b.listeners = append(b.listeners, newListener(l.id, ln, log, b.disconnect))
	}
	if len(b.listeners) == 0 {
		return errors.New("mqtt_broker has no address to listen on")
	}
	return nil
}

func (b *Broker) unbind() {
	for _, l := range b.listeners {
		_ = l.ln.Close()
	}
}

func (b *Broker) serve(cfg Config, log *slog.Logger) error {
	h := &hook{
		server: b.server, users: cfg.Users, directory: cfg.Directory, monitor: newMonitor(), log: log,
		service: b.server.NewClient(nil, mqtt.LocalListener, "iotcast", true),
		limited: newLimited(cfg.Limits, b.server.Clients), refusals: newRefusals(), counters: newCounters(),
	}
	b.hook = h
	if err := b.server.AddHook(h, nil); err != nil {
		return err
	}
	if cfg.File != "" {
		var err error
		if h.store, err = openStore(cfg.File, log); err != nil {
			return err
		}
		sessions, retained, err := h.store.restore(h)
		if err == nil {
			err = b.server.AddHook(h.store, nil)
		}
		if err != nil {
			_ = h.store.Stop()
			return fmt.Errorf("reading %q: %w", cfg.File, err)
		}
		log.Info("MQTT broker restored", "file", cfg.File, "sessions", sessions, "retained", retained)
	}
	if cfg.Directory != nil {
		cfg.Directory.OnChange(h.follow)
	}
	for _, l := range b.listeners {
		if err := b.server.AddListener(l); err != nil {
			return err
		}
	}
	return b.server.Serve()
}

// capabilities says what mochi may refuse and forget. What is not set here keeps mochi's default: no limit on clients,
// QoS 2, retained messages, shared subscriptions, sessions that never expire.
func capabilities(pending uint16) *mqtt.Capabilities {
	c := mqtt.NewDefaultServerCapabilities()

	// Two ways to lose a QoS 1 message that was acknowledged to its publisher: the session has too many unacknowledged
	// (offline, or holding its acks), or too many wait for the connection (reading slowly). These may be as many as those of
	// the session, so that there is one limit to know.
	c.MaximumInflight = pending
	c.MaximumClientWritesPending = 1 // mochi makes the room with each connection, and hands no message to any: see deliver.go

	// An MQTT 3.1.1 client does not learn this limit and is cut off at it, with so many QoS 2 messages under way.
	c.ReceiveMaximum = math.MaxUint16

	// By default a message is forgotten after a day, without a word: from a session that is away, and, retained, from
	// its topic. The expiry that an MQTT 5 publisher asks for still holds.
	c.MaximumMessageExpiryInterval = 0

	c.MaximumPacketSize = maxPacketBytes
	c.TopicAliasMaximum = maxTopicAlias

	// By default an acknowledgement repeats the user properties of its message, which nobody asks for and some clients
	// take for a malformed packet.
	c.Compatibilities.NoInheritedPropertiesOnAck = true
	return c
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Addr is the address of MQTT over TCP, with the real port; nil if there is none.
func (b *Broker) Addr() net.Addr { return b.addr(tcpListener) }

// TLSAddr is the address of MQTT over TLS, with the real port; nil if there is none.
func (b *Broker) TLSAddr() net.Addr { return b.addr(tlsListener) }

// WebSocketAddr is the address of MQTT over WebSocket, with the real port; nil if there is none.
func (b *Broker) WebSocketAddr() net.Addr { return b.addr(httpListener) }

func (b *Broker) addr(id string) net.Addr {
	for _, l := range b.listeners {
		if l.id == id {
			return l.ln.Addr()
		}
	}
	return nil
}

func (b *Broker) disconnect(listener string) {
	for _, cl := range b.server.Clients.GetAll() {
		if cl.Net.Listener == listener && !cl.Closed() {
			_ = b.server.DisconnectClient(cl, packets.ErrServerShuttingDown)
		}
	}
}

// Close disconnects every client and returns when their goroutines have ended. It may be called more than once.
func (b *Broker) Close() error { return b.close() }

// Dropped counts what was lost for want of room since Start: QoS 1 and 2 messages to a session with too many
// unacknowledged, and messages of any QoS to a connection that reads too slowly.
func (b *Broker) Dropped() (inflight, messages int64) {
	return atomic.LoadInt64(&b.server.Info.InflightDropped), atomic.LoadInt64(&b.server.Info.MessagesDropped)
}
