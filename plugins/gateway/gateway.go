// Package gateway sends the messages of devices to thousands of browsers, from an HTTP server of your own. It is the fan-out of
// iotcast without Benthos and without MQTT: one frame for all connections, a few goroutines for all sockets, and a bound on what
// waits for a slow client.
//
//	g, err := gateway.New(gateway.Options{
//		Format:  gateway.Format{RegistryID: "my-registry"},
//		History: gateway.History{MaxAge: 5 * time.Minute}, // for pages that were away
//	})
//	if err != nil {
//		return err
//	}
//	http.Handle("/telemetry", g)
//	http.Handle("/iotcast.js", gateway.Client())
//	…
//	err = g.Broadcast(gateway.Message{Topic: "$devices/boiler/events", Payload: []byte(`{"temperature":21.5}`)})
//
// A [Gateway] is what clients of one path get: for several paths make several. A page follows it by iotcast.js, a program by
// package feed, and either goes on where it was after it was away.
//
// It must have the sockets of its clients. So the server speaks HTTP/1.1: a browser opens its WebSockets so by itself, also to a
// server that offers HTTP/2 for the rest, but server-sent events only to one that does not ([Options.SSE]). And a middleware
// before it that wraps http.ResponseWriter has a method Unwrap, as [http.ResponseController] wants it; [http.TimeoutHandler] has
// none. A request whose socket cannot be had is answered with an error that says why.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/gateway/client"
)

// ErrClosed is the error of a broadcast after Close.
var ErrClosed = errors.New("gateway: it is closed")

// Gateway sends what is broadcast to all who are connected. Its methods may be called by any goroutine.
type Gateway struct {
	format  format
	route   *gateway.Route
	counts  counts
	closing sync.Once
}

var _ http.Handler = (*Gateway)(nil)

// New returns a gateway, which must be closed. The error names the option that is wrong.
func New(options Options) (*Gateway, error) {
	g := new(Gateway)
	var err error
	if g.format, err = options.Format.check(); err != nil {
		return nil, err
	}
	cfg, route, err := options.config()
	if err != nil {
		return nil, err
	}
	g.route = gateway.NewRoute(cfg, route, &g.counts, options.logger())
	return g, nil
}

// ServeHTTP opens a connection, or answers why there is none. It looks at the query of the URL, and not at its path. It returns
// at once: the connection outlives the request and its context, and net/http does not know of it any more.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.route.Removed() {
		http.Error(w, "the gateway is closed", http.StatusServiceUnavailable)
		return
	}
	g.route.ServeHTTP(w, r)
}

// Broadcast sends messages to everyone who is connected and wants them, the oldest first, in one envelope, or in as few as have
// at most Options.QueueBytes each. It sends all of them or none: an error names the message that cannot be sent. It waits for
// no client, and what it was given may be used again when it returns.
//
// To whom nobody is connected, it returns nil as well: with Options.History messages are kept for those that come back.
func (g *Gateway) Broadcast(messages ...Message) error {
	all, err := g.format.complete(messages)
	if err != nil {
		return err
	}
	limit := g.route.MessageBytes()
	envelopes := slices.Collect(envelope.Split(g.format.of, all, int(limit)))
	for _, e := range envelopes {
		if e.Err != nil {
			return fmt.Errorf("gateway: a message with the topic %.100q makes an envelope of %d bytes, and QueueBytes lets %d wait for a client", all[e.From].Topic, e.Size, limit)
		}
	}
	for _, e := range envelopes {
		text := envelope.AppendEnvelope(make([]byte, 0, e.Size), g.format.of, all[e.From:e.To])
		if err := g.broadcast(fanout.Message{Opcode: fanout.Text, Payload: text, ID: all[e.To-1].EventID}); err != nil {
			return err
		}
	}
	return nil
}

// Frame is a message as clients get it.
type Frame struct {
	Data   []byte
	Binary bool // or else it is text, in UTF-8
	// EventID is what a client names that has seen this last, to go on behind it. Without one it cannot. To the same ID again
	// nothing is sent while Options.History has it.
	EventID string
}

// BroadcastRaw sends a frame as it is to everyone who is connected: an envelope of another source, or no envelope at all. By
// Options.Watch clients can choose of text that is an envelope, as [Format.Envelope] writes it; of anything else they get all
// or nothing. Otherwise it is as Broadcast.
func (g *Gateway) BroadcastRaw(f Frame) error {
	m := fanout.Message{Opcode: fanout.Text, Payload: f.Data, ID: f.EventID}
	if f.Binary {
		m.Opcode = fanout.Binary
	}
	switch limit := g.route.MessageBytes(); {
	case !f.Binary && !utf8.Valid(f.Data): // clients would have to fail their connections (RFC 6455, section 8.1)
		return errors.New("gateway: the frame is to be text and is not UTF-8: set Binary")
	case int64(len(f.Data)) > limit:
		return fmt.Errorf("gateway: the frame has %d bytes, and QueueBytes lets %d wait for a client", len(f.Data), limit)
	}
	return g.broadcast(m)
}

func (g *Gateway) broadcast(m fanout.Message) error {
	if _, err := g.route.Broadcast(m); err != nil {
		return ErrClosed // there is no other reason
	}
	return nil
}

// Connections is how many clients are connected.
func (g *Gateway) Connections() int { return g.route.Connections() }

// Close closes all connections with 1001 (going away), each behind what was broadcast to it, and returns when they are gone:
// with ctx, at the latest, their sockets are cut. Requests for others are answered with 503. Closing again waits for the first
// to end. [http.Server.Shutdown] knows nothing of these connections: close the gateway after it.
func (g *Gateway) Close(ctx context.Context) { g.closing.Do(func() { g.route.Close(ctx) }) }

// Client serves iotcast.js, the client for pages, and the modules that it imports from beside it: events.js, shared.js and
// sharedworker.js. It goes by the last element of the path, so it can stand for one name or for a folder:
//
//	http.Handle("/iotcast.js", gateway.Client())
//	http.Handle("/live/", gateway.Client())
func Client() http.Handler {
	modules := client.Handlers()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if module, ok := modules[path.Base(r.URL.Path)]; ok {
			module.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	})
}

// ForTLS returns a listener to give to [http.Server.ServeTLS]. With it the connections of a gateway cost no goroutine over TLS
// either, and one system call a write. Without it they work, too, with two goroutines each.
func ForTLS(l net.Listener) net.Listener { return fanout.ForTLS(l) }
