package feed

import (
	"context"
	"net/http"
	"time"
)

// Options are what a feed asks of the gateway, and how it connects. Those that
// begin with "asks" are parameters of the query.
type Options struct {
	// Token is called before each connection, for the header Authorization. It
	// returns the token without "Bearer".
	Token func(ctx context.Context) (string, error)
	// Header has more headers of the handshake.
	Header http.Header
	// HTTPClient makes the handshake, with its TLS settings and proxy. The default is http.DefaultClient.
	HTTPClient *http.Client

	// Choice is whose messages come at first. Feed.Choose changes it.
	Choice Choice
	// Interval asks for the newest message only of each device in so long.
	Interval time.Duration
	// NoLatest asks not to begin with the newest value of each device.
	NoLatest bool
	// Rewind asks to begin with the messages of the last so long, if there is no
	// event ID to go on behind.
	Rewind time.Duration
	// Heartbeat asks for a sign of life after so long without a message. Once one
	// has come, a link on which nothing comes for 2.5 times as long is taken for
	// dead. The default is 30 s; negative: none.
	Heartbeat time.Duration
	// LastEventID is where to go on, from Feed.LastEventID of an earlier feed.
	LastEventID string

	// JSON says that the trigger has payload_format: json. It must, since a
	// string of JSON and one of base64 look the same.
	JSON bool

	// MinWait and MaxWait bound the waits between attempts: a random time up to
	// MinWait, doubled with each that failed, up to MaxWait. The defaults are 1 s and 30 s.
	MinWait, MaxWait time.Duration
}
