package gateway

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/iotcast/iotcast/internal/token"
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
	Header       http.Header
	Query        url.Values
	Subprotocols []string // that the client offers
}

// Answer is what a Connect handler decides.
type Answer struct {
	Status      int    // refuses the connection; zero opens it
	Subprotocol string // one of those that the client offers; empty: none
}

// Message is a message from or to one client.
type Message struct {
	ID   string // of one from a client; later ones are greater, as text
	Text bool   // or else binary
	Data []byte
}

// Info is what is known of a connection.
type Info struct {
	ID, Gateway, Path, SourceIP, UserAgent, Subprotocol string

	ConnectedAt, LastActiveAt time.Time

	Claims             token.Claims // of its token; only where a handler may ask
	CertificateSubject string       // of the client's certificate, where TLS asks for one; of a Request only
}
