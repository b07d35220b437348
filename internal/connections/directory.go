// Package connections knows who is connected to the gateways of this process, or to those of all nodes of a cluster. It finds
// connections, sends to them and closes them.
package connections

import (
	"context"
	"errors"
	"slices"
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
	// List returns open connections in the order of their IDs: on each node that of
	// connecting.
	List(ctx context.Context, q Query) ([]Info, Unreachable, error)
	// Broadcast sends a message to all connections of a route and returns how many
	// they are. It fails with ErrNotFound if there is no such route, with
	// ErrTooLarge if the route takes no such message.
	Broadcast(ctx context.Context, gateway, path string, m Message) (int, Unreachable, error)
	// Silent are the nodes that did not answer when they were asked last, if that was
	// in the last five minutes. It asks none.
	Silent() Unreachable
}

// Unreachable are the nodes that did not answer, in the order of their names: what
// they hold is not in a result.
type Unreachable []string

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
	ID           string    `json:"id"`
	Gateway      string    `json:"gateway"`
	Path         string    `json:"path"`
	SourceIP     string    `json:"source_ip"`
	UserAgent    string    `json:"user_agent"`
	ConnectedAt  time.Time `json:"connected_at"` // in UTC, as LastActiveAt
	LastActiveAt time.Time `json:"last_active_at"`

	// What nodes of earlier releases do not tell.
	Subject     string `json:"subject,omitempty"` // of its token
	Watch       *Watch `json:"watch,omitempty"`   // nil: everything
	QueuedBytes int64  `json:"queued_bytes,omitempty"`
	Dropped     uint64 `json:"dropped,omitempty"`  // messages that it did not get, since its client was slow
	Protocol    string `json:"protocol,omitempty"` // websocket or sse
}

// Watch is what a connection has chosen to get; two empty lists are nothing.
type Watch struct {
	DeviceIDs []string `json:"device_ids"`
	Topics    []string `json:"topics"`
}

// Message is what goes to clients.
type Message struct {
	Text bool // or else binary
	Data []byte
}

// Query selects connections.
type Query struct {
	Gateways []string `json:"gateways"`            // of any of these
	Path     string   `json:"path,omitempty"`      // empty: of any
	SourceIP string   `json:"source_ip,omitempty"` // empty: from any
	DeviceID string   `json:"device_id,omitempty"` // empty: whatever they watch; or else those that have chosen this device by its ID
	Subject  string   `json:"subject,omitempty"`   // of the token; empty: any, or none
	After    string   `json:"after,omitempty"`     // ID; only those after it
	Limit    int      `json:"limit"`               // no more than these, 1 to MaxLimit
}

// chosen reports whether a connection is of the device and the subject that are asked for.
func (q *Query) chosen(i Info) bool {
	return (q.Subject == "" || q.Subject == i.Subject) &&
		(q.DeviceID == "" || i.Watch != nil && slices.Contains(i.Watch.DeviceIDs, q.DeviceID))
}

// MaxLimit of a Query: a page of a thousand, and one more that tells whether there is a next.
const MaxLimit = 1001
