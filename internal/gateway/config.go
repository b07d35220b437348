package gateway

import (
	"crypto/tls"
	"net/netip"
	"time"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/token"
)

// Config is one gateway as it is configured.
type Config struct {
	Label          string          // the name by which outputs find it; unique
	Address        string          // host:port to listen on
	NodeID         string          // the name of this process among several, with which connection IDs begin; empty: none
	TLS            *tls.Config     // nil: without TLS
	Viewer         string          // path of the built-in page; empty: there is none
	Broker         string          // address of this process' MQTT broker, which the page names; empty: it has none
	Bindings       access.Bindings // which service accounts may do what with the connections; empty: nobody is restricted
	TrustedProxies []netip.Prefix  // whose X-Forwarded-For is believed
	AccessLog      bool            // write a line to the log when a connection ends
	Admission      Admission
	Shutdown       Shutdown
	Routes         []RouteConfig
}

// Admission bounds what clients that want a connection may cost. A number that is zero
// means no limit. HandshakeTimeout must be above zero.
type Admission struct {
	MaxConnections      int           // of the gateway, on all routes
	MaxConnectionsPerIP int           // of an IPv4 address, or of a /64 network of IPv6
	HandshakeRate       int           // handshakes a second
	HandshakeTimeout    time.Duration // for the request, TLS included, and again for tokens and on_connect
	MaxHeaderBytes      int           // of a request; zero: net/http's default
}

// Shutdown is how connections end with the gateway.
type Shutdown struct {
	Restart bool          // close them with 1012 (service restart) instead of 1001 (going away)
	Drain   time.Duration // the time over which they are closed one after the other; zero: all at once
}

// RouteConfig is one path of a gateway.
type RouteConfig struct {
	Path           string
	AllowedOrigins []string
	Tokens         *Tokens // nil: connections need none
	MaxConnections int     // zero: no limit
	Compression    bool    // accept permessage-deflate (RFC 7692)
	History        History
	Watch          *Watch        // nil: clients cannot choose, and all get everything
	Events         bool          // serve server-sent events beside WebSockets
	MinInterval    time.Duration // a client gets at most one message of a device in this time; zero: all
	Latest         fanout.Latest
	Limits         fanout.Limits
	Handlers       Handlers
}

// History is what a route keeps for clients that come back. A client's last message may
// not be there yet, but come in a moment later: the handshake waits for it.
type History struct {
	Bounds     fanout.History
	WarmUp     time.Duration // how long after the start, while the history fills, handshakes wait
	ResumeWait time.Duration // how long each may wait at any time, since another node may have been ahead
}

// Tokens says where a client's token comes from and what it must hold.
type Tokens struct {
	Verifier          *token.Verifier
	QueryParameter    string // empty: not from the query
	SubprotocolPrefix string // what stands before the token in a subprotocol; empty: not from there
	RoutesClaim       string // the claim that lists the paths that the token opens; empty: it opens all
	Optional          bool   // a client without a token may connect, too
}

// maxFrame is the size, in bytes, above which an outgoing message is sent in several
// frames (RFC 6455, section 5.4). The original service does so, too.
const maxFrame = 32 << 10

// closeTimeout is how long a client may take to read what is left, and to answer a Close
// frame (RFC 6455, section 5.5.1).
const closeTimeout = 5 * time.Second
