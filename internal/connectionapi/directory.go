package connectionapi

import (
	"context"
	"errors"
	"time"

	"github.com/iotcast/iotcast/internal/access"
)

// Directory knows the gateways, and finds their connections, wherever those are
// open. Its methods may be called concurrently.
type Directory interface {
	// Bindings say what service accounts may do on each gateway, by its label.
	Bindings() map[string]access.Bindings
	// Connection finds an open connection, or fails with ErrNotFound.
	Connection(ctx context.Context, id string) (Connection, error)
	// List returns open connections in the order of their IDs, which is that of
	// connecting.
	List(ctx context.Context, q Query) ([]Info, error)
	// Broadcast sends a message to all connections of a route and returns how many
	// they are. It fails with ErrNotFound if there is no such route, with
	// ErrTooLarge if the route takes no such message.
	Broadcast(ctx context.Context, gateway, path string, m Message) (int, error)
}

// Connection is one open connection.
type Connection interface {
	Info() Info
	// Send fails with ErrNotFound if the connection has ended meanwhile, with
	// ErrTooLarge if it takes no such message.
	Send(ctx context.Context, m Message) error
	// Disconnect closes the connection with 1000.
	Disconnect(ctx context.Context) error
}

// Errors of a Directory, which may be wrapped.
var (
	ErrNotFound = errors.New("not found")
	ErrTooLarge = errors.New("message too large")
)

// Info is what is known of a connection.
type Info struct {
	ID, Gateway, Path, SourceIP, UserAgent string

	ConnectedAt, LastActiveAt time.Time
}

// Message is what goes to clients.
type Message struct {
	Text bool // or else binary
	Data []byte
}

// Query selects connections.
type Query struct {
	Gateways []string // of any of these
	Path     string   // empty: of any
	SourceIP string   // empty: from any
	After    string   // ID; only those after it
	Limit    int      // no more than these
}
