package gateway

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/iotcast/iotcast/internal/fanout"
)

// Handlers are what a route calls when something happens to its connections. Each may be
// nil. Those of different connections are called concurrently, those of one connection
// one after the other.
type Handlers struct {
	// Connect decides whether a request gets a connection. An error refuses it with 500.
	Connect func(context.Context, *Request) (Answer, error)
	// Message gets a message of a client, and returns the answers to it, if any.
	Message func(context.Context, *Connection, Message) ([]Message, error)
	// Disconnect is told of a connection that has ended.
	Disconnect func(context.Context, *Connection, End) error
	// Timeout is how long a handler may take. Then its context ends.
	Timeout time.Duration
}

// Request is what a Connect handler sees of a handshake.
type Request struct {
	Info
	HTTP         *http.Request // its context ends with Admission.HandshakeTimeout
	Header       http.Header
	Query        url.Values
	Subprotocols []string // that the client offers
}

// Answer is what a Connect handler decides.
type Answer struct {
	Status      int    // the HTTP status that refuses the connection; zero opens it
	Subprotocol string // one of those that the client offers; empty: none

	Within *fanout.Choice // what the connection may get, on a route with Watch and without Watch.Claim; nil: everything
	Until  time.Time      // when the connection must end, if its token does not end it sooner; zero: never
}
