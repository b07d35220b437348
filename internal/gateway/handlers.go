package gateway

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/iotcast/iotcast/internal/fanout"
)

// Handlers are what a route does on the events of its connections. Each may be
// nil. They are called concurrently, but those of one connection one after the
// other.
type Handlers struct {
	// Connect decides on a request for a connection. An error refuses it with 500.
	Connect func(context.Context, *Request) (Answer, error)
	// Message gets a message of a client and returns those that go back to it.
	Message func(context.Context, *Connection, Message) ([]Message, error)
	// Disconnect is told of a connection that has ended.
	Disconnect func(context.Context, *Connection, End) error
	// Timeout ends a handler's context.
	Timeout time.Duration
}

// Request is what a Connect handler sees of a handshake.
type Request struct {
	Info
	HTTP         *http.Request // its context ends when the answer comes too late
	Header       http.Header
	Query        url.Values
	Subprotocols []string // that the client offers
}

// Answer is what a Connect handler decides.
type Answer struct {
	Status      int    // refuses the connection; zero opens it
	Subprotocol string // one of those that the client offers; empty: none

	Within *fanout.Choice // what the connection may get, on a route with Watch and without Watch.Claim; nil: everything
	Until  time.Time      // when it must end, if not sooner by its token; zero: never
}
