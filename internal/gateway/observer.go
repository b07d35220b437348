package gateway

import "time"

// Observer is told what happens on one route, for metrics. Its methods are
// called concurrently, and hold up what they are told of.
type Observer interface {
	// Handshake reports the HTTP status that a request for a connection was
	// answered with, and why, from a fixed set. Status 101 has no reason.
	Handshake(status int, reason string)
	// Closed reports the end of a connection and the reason, from a fixed set.
	Closed(reason string)
	// Received reports a message from a client.
	Received(bytes int)
	// Watched reports that a client has chosen anew, or was refused to.
	Watched(accepted bool)
	// HandlerFailed reports that a handler returned an error.
	HandlerFailed(handler string)
	// Served reports that all connections were offered what was broadcast to them,
	// and how long ago the oldest of it was received.
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

// Names are those that Observer.HandlerFailed may report.
func (Handlers) Names() []string { return []string{onConnect, onMessage, onDisconnect} }
