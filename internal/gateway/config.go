package gateway

import (
	"time"

	"iotcast/internal/fanout"
)

// Config is one gateway as it is configured.
type Config struct {
	Label          string // what outputs call it; unique
	Address        string // host:port to listen on
	AllowedOrigins []string
	Viewer         string // path of the built-in page; empty: none
	Compression    bool   // offer permessage-deflate (RFC 7692)
	Routes         []RouteConfig
	Limits         Limits
}

// RouteConfig is one path of a gateway.
type RouteConfig struct {
	Path string
}

// Limits bound what one connection may cost. A zero duration means no limit.
type Limits struct {
	QueueBytes      int64         // what may wait for a connection that reads slowly
	SlowConsumer    fanout.Policy // what happens when it is more
	MaxMessageBytes int64         // of a message from the client; larger: close 1009
	PingInterval    time.Duration
	IdleTimeout     time.Duration
	MaxLifetime     time.Duration
}

// maxFrame is the size above which an outgoing message is sent in several
// frames, as the original service does.
const maxFrame = 32 << 10

// closeTimeout is what a peer gets to read what is left and to answer a Close
// frame.
const closeTimeout = 5 * time.Second
