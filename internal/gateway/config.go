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
	Label          string // what outputs call it; unique
	Address        string // host:port to listen on
	NodeID         string // of this process among several; part of connection IDs; empty: none
	TLS            *tls.Config
	Viewer         string          // path of the built-in page; empty: none
	Broker         string          // address of this process' MQTT broker, which the page names; empty: none
	Bindings       access.Bindings // who may do what with the connections; none: this process all
	TrustedProxies []netip.Prefix  // whose X-Forwarded-For is believed
	AccessLog      bool            // a line of the log for each connection's end
	Admission      Admission
	Shutdown       Shutdown
	Routes         []RouteConfig
}

// Admission bounds what clients that want a connection may cost. A zero number
// means no limit; there must be a timeout.
type Admission struct {
	MaxConnections      int
	MaxConnectionsPerIP int
	HandshakeRate       int           // a second
	HandshakeTimeout    time.Duration // for the request, TLS included, and then for tokens and on_connect
	MaxHeaderBytes      int
}

// Shutdown is how connections end with the gateway.
type Shutdown struct {
	Restart bool          // with 1012 (service restart), not 1001 (going away)
	Drain   time.Duration // over which they are closed; zero: all at once
}

// RouteConfig is one path of a gateway.
type RouteConfig struct {
	Path           string
	AllowedOrigins []string
	Tokens         *Tokens // nil: connections need none
	MaxConnections int     // zero: no limit
	Compression    bool    // offer permessage-deflate (RFC 7692)
	History        History
	Watch          *Watch        // nil: clients cannot choose, and all get everything
	Events         bool          // serve server-sent events, too
	MinInterval    time.Duration // no client gets more than one message of a device in that time
	Latest         fanout.Latest
	Limits         fanout.Limits
	Handlers       Handlers
}

// History is what a route keeps for clients that come back.
type History struct {
	Bounds     fanout.History
	WarmUp     time.Duration // after the start, while a client's last message may yet come in
	ResumeWait time.Duration // the same at any time, since another node may have been ahead
}

// Tokens says where a client's token comes from and what it must hold.
type Tokens struct {
	Verifier          *token.Verifier
	QueryParameter    string // empty: not from the query
	SubprotocolPrefix string // of a subprotocol that is the token; empty: not from there
	RoutesClaim       string // claim that lists the paths that the token opens; empty: it opens all
	Optional          bool   // a client without a token may connect, too
}

// maxFrame is the size above which an outgoing message is sent in several
// frames, as the original service does.
const maxFrame = 32 << 10

// closeTimeout is what a peer gets to read what is left and to answer a Close
// frame.
const closeTimeout = 5 * time.Second
