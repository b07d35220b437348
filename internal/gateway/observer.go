package gateway

import "time"

// Observer is told what happens on one route, for metrics. Its methods are called
// concurrently. They must be quick: what they are told of waits for them.
type Observer interface {
	// Handshake reports the HTTP status with which a request for a connection was
	// answered. The reason is from a fixed set, and empty if a connection was opened.
	Handshake(status int, reason string)
	// Closed reports the end of a connection. The reason is one of [Reasons].
	Closed(reason string)
	// Received reports a message from a client, and its size.
	Received(bytes int)
	// Watched reports that a client has chosen anew, or was refused to.
	Watched(accepted bool)
	// HandlerFailed reports that a handler returned an error.
	HandlerFailed(handler string)
	// Served reports that what was broadcast has been offered to connections, and how
	// long ago the oldest of it was received.
	Served(time.Duration)
}

// Observe makes the observer of a route. The path is empty for requests that
// find no route.
type Observe func(gateway, path string) Observer

// The names of the handlers, as metrics and logs give them.
const (
	onConnect    = "on_connect"
	onMessage    = "on_message"
	onDisconnect = "on_disconnect"
)

// Names returns those that Observer.HandlerFailed may report.
func (Handlers) Names() []string { return []string{onConnect, onMessage, onDisconnect} }
