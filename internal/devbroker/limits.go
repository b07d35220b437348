package devbroker

import (
	"errors"
	"net"
	"net/netip"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

// Limits are what clients may cost; 0 stands for no limit. Who may connect is asked first, so that nobody who may not takes a
// place of those who may.
type Limits struct {
	Connections        int   // of clients that have logged in
	ConnectionsPerIP   int   // the same, from one address or, with IPv6, /64 network
	Sessions           int   // with those of clients that are connected
	RetainedBytes      int64 // of all retained messages
	SessionBytes       int64 // of the QoS 1 and 2 messages in one session
	MessageRate        int   // messages a second of one client
	LoginFailures      int   // passwords a minute that are wrong, of one user from one address
	LoginFailuresPerIP int   // the same, of all users from one address
}

// failuresPeriod is that of login failures.
const failuresPeriod = time.Minute

// The reasons for which something is refused or dropped, as metrics have them. A limit has the name of its field.
const (
	byConnections        = "max_connections"
	byConnectionsPerIP   = "max_connections_per_ip"
	bySessions           = "max_sessions"
	byRetainedBytes      = "max_retained_bytes"
	bySessionBytes       = "max_session_bytes"
	byLoginFailures      = "login_failures"
	byLoginFailuresPerIP = "login_failures_per_ip"

	byPassword      = "password"
	byCertificate   = "certificate"
	byNoCredentials = "no_credentials"
	byWill          = "will"

	byAuthorization = "not_authorized"
	byTopic         = "topic_invalid"
	byFilter        = "filter_invalid"

	bySessionFull = "session_full"
	byQueueFull   = "queue_full"
	byPacketSize  = "maximum_packet_size"
)

// refusal is why a client may not connect.
type refusal struct {
	reason string // of the metric
	code   byte   // of a CONNACK of MQTT 5
	why    error
}

func (r *refusal) Error() string { return r.why.Error() }
func (r *refusal) Unwrap() error { return r.why }

func refuseBy(reason string, code packets.Code, why string) *refusal {
	return &refusal{reason: reason, code: code.Code, why: errors.New(why)}
}

// connack3Unavailable is the return code of a CONNACK of MQTT 3.1.1 that stands for a limit: a client may try again.
const connack3Unavailable = 3

// put makes a CONNACK that mochi writes as the answer to wrong credentials tell of a limit.
func (r *refusal) put(pk *packets.Packet, version byte) {
	if r == nil || r.code == 0 {
		return
	}
	pk.ReasonCode, pk.Properties.ReasonString = connack3Unavailable, ""
	if version >= 5 {
		pk.ReasonCode, pk.Properties.ReasonString = r.code, r.Error()
	}
}

// slow waits until a client may publish the next message. It is read no faster meanwhile, so TCP makes it wait: nothing is lost,
// and there is no answer by which MQTT 3.1.1 could refuse one. The keepalive counts from when reading goes on.
func (h *hook) slow(cl *mqtt.Client) {
	c := connOf(cl)
	who := cl.ID
	if h.directory != nil {
		switch c.principal.Role {
		case registry.DeviceRole: // all its connections together
			who = c.principal.ID
		case registry.RegistryRole: // it speaks to all its devices
			return
		}
	}
	d := h.messages.wait(who)
	if d <= 0 {
		return
	}
	h.counters.delayed.Add(1)
	c.pay()
	c.pause(d)
}

// pause waits, but not longer than the connection is there.
func (c *conn) pause(d time.Duration) {
	until := time.Now().Add(d)
	timer := time.AfterFunc(d, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changed.Broadcast()
	})
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && time.Now().Before(until) {
		c.changed.Wait()
	}
}

// network is what a client has of the addresses: one of IPv4, or a /64 network of IPv6.
func network(a net.Addr) netip.Prefix {
	at, _ := netip.ParseAddrPort(a.String())
	ip := at.Addr().Unmap()
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // of the zero Addr: the zero Prefix
	return p
}

// limited is what keeps clients within their limits.
type limited struct {
	limits    Limits
	attempts  *attempts
	admission *admission
	messages  *buckets[string] // by client or device
	weights   *weights
}

func newLimited(l Limits, clients *mqtt.Clients) limited {
	return limited{
		limits: l, attempts: newAttempts(l), admission: newAdmission(l, clients),
		messages: newBuckets[string](l.MessageRate, time.Second), weights: newWeights(l),
	}
}
