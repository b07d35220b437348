package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/origin"
)

// Options are what a gateway is to do. The zero value is a gateway that sends everything to everyone, keeps nothing, and
// takes pages of its own origin only. Names and defaults are those of the routes of websocket_gateways.
type Options struct {
	// Format is how Broadcast writes messages.
	Format Format

	// AllowedOrigins are web pages of other origins that may connect: hosts such as "dashboard.example.com", "*.example.com" or
	// "localhost:*", or with a scheme, "https://example.com". "*" lets every page in. Pages of the same host and port may
	// always, and so may clients that are no browsers.
	AllowedOrigins []string
	// Authorize decides who may connect, and what a client may get; nil: everyone, and everything. It is called for each request
	// from an allowed origin, by the goroutine of that request, whose context ends after 10 s. An error refuses the request: with
	// the status that it is, if it is a StatusError, or else with 403. Its text goes to the log at debug level, and not to the
	// client. A panic is the server's, as that of any handler. Browsers can show a token in a cookie, in the query or in a
	// subprotocol, see Permit.Subprotocol.
	Authorize func(*http.Request) (Permit, error)
	// MaxConnections is how many may be connected; beyond, requests are answered with 503. 0: no limit.
	MaxConnections int

	// SlowConsumer is what happens to a client for which more than QueueBytes wait.
	SlowConsumer Policy
	// QueueBytes is how many bytes may wait for one client, at least 16384. Connections share what waits, so this bounds all slow
	// clients together. 0: 8 MiB.
	QueueBytes int64
	// Compression offers permessage-deflate (RFC 7692). Each message is compressed once, however many get it.
	Compression bool

	// History is what is kept for clients that come back.
	History History
	// Watch lets clients choose whose messages they get, by device and MQTT topic filter, in the query or by a message.
	Watch bool
	// Latest keeps the newest message of each device or topic, with which clients begin: of 100,000 of them, in 64 MiB.
	Latest Latest
	// SSE serves server-sent events, too, to requests with Accept: text/event-stream. Over TLS the server must not offer HTTP/2:
	// set Protocols of http.Server to HTTP1.
	SSE bool

	// PingInterval is how often a client is probed; one that has not answered by the next is disconnected. IdleTimeout is after
	// how long without a message either way it is, and MaxLifetime after how long in any case: clients then connect anew and go
	// on. 0: 30 s, 10 min and 1 h. Negative: never.
	PingInterval, IdleTimeout, MaxLifetime time.Duration

	// Logger is told of connections that end, at info level (of slow clients, as a warning), of refused requests, at debug level,
	// and of what its operator must know, such as a page whose origin is missing in AllowedOrigins. Nil: slog.Default.
	Logger *slog.Logger
}

// History bounds what is kept in memory for clients that come back: a client that names the last event ID that it has seen gets
// all that came since, without a gap. Nothing is kept if all bounds are zero; else a zero bound does not apply.
type History struct {
	MaxMessages int           // envelopes and frames
	MaxBytes    int64         // of these; 0: 64 MiB if another bound is set
	MaxAge      time.Duration // of each
}

// Policy is what happens to a client that reads too slowly.
type Policy int

const (
	// Disconnect closes its connection with 1013 (try again later). It sees an end, and never a gap.
	Disconnect Policy = iota
	// DropOldest drops the oldest messages that wait for it, and tells it how many.
	DropOldest
	// OnlyLatest drops all that waits for it, and has the newest message of each device or topic wait instead. It needs
	// Options.Latest.
	OnlyLatest
)

// Latest is of what the newest message is kept.
type Latest int

const (
	// NoLatest keeps nothing.
	NoLatest Latest = iota
	// ByDevice keeps one message for each device ID.
	ByDevice
	// ByTopic keeps one for each topic.
	ByTopic
)

// config is what they are to internal/gateway.
func (o *Options) config() (cfg gateway.Config, route gateway.RouteConfig, err error) {
	limits := gateway.DefaultLimits()
	limits.SlowConsumer = fanout.Policy(o.SlowConsumer)
	limits.QueueBytes = cmp.Or(o.QueueBytes, limits.QueueBytes)
	for _, of := range []struct {
		to    *time.Duration
		given time.Duration
	}{{&limits.PingInterval, o.PingInterval}, {&limits.IdleTimeout, o.IdleTimeout}, {&limits.MaxLifetime, o.MaxLifetime}} {
		*of.to = max(cmp.Or(of.given, *of.to), 0)
	}
	route = gateway.RouteConfig{
		AllowedOrigins: slices.Clone(o.AllowedOrigins), MaxConnections: o.MaxConnections,
		Compression: o.Compression, Events: o.SSE, Limits: limits,
		History: gateway.History{
			Bounds: fanout.History{MaxMessages: o.History.MaxMessages, MaxBytes: o.History.MaxBytes, MaxAge: o.History.MaxAge},
		},
	}
	if kept := &route.History.Bounds; *kept != (fanout.History{}) && kept.MaxBytes == 0 {
		kept.MaxBytes = gateway.DefaultHistoryBytes
	}
	if o.Watch {
		route.Watch = new(gateway.Watch)
	}
	if o.Latest != NoLatest {
		route.Latest = fanout.Latest{ByTopic: o.Latest == ByTopic, MaxKeys: gateway.DefaultLatestKeys, MaxBytes: gateway.DefaultLatestBytes}
	}
	if o.Authorize != nil {
		route.Handlers.Connect = authorizer{o.Authorize, o.Watch, o.logger()}.connect
	}
	cfg = gateway.Config{AccessLog: true, Admission: gateway.Admission{HandshakeTimeout: gateway.DefaultHandshakeTimeout}}
	return cfg, route, o.check()
}

// check says which option is wrong.
func (o *Options) check() error {
	if err := origin.Check(o.AllowedOrigins); err != nil {
		return fmt.Errorf("gateway: AllowedOrigins: %w", err)
	}
	switch {
	case o.MaxConnections < 0, o.History.MaxMessages < 0, o.History.MaxBytes < 0, o.History.MaxAge < 0:
		return errors.New("gateway: MaxConnections and the bounds of History must not be negative")
	case o.QueueBytes != 0 && o.QueueBytes < gateway.MinQueueBytes:
		return fmt.Errorf("gateway: QueueBytes must be at least %d, or 0 for the default", gateway.MinQueueBytes)
	case o.SlowConsumer < Disconnect || o.SlowConsumer > OnlyLatest:
		return errors.New("gateway: SlowConsumer must be Disconnect, DropOldest or OnlyLatest")
	case o.Latest < NoLatest || o.Latest > ByTopic:
		return errors.New("gateway: Latest must be NoLatest, ByDevice or ByTopic")
	case o.SlowConsumer == OnlyLatest && o.Latest == NoLatest:
		return errors.New("gateway: SlowConsumer OnlyLatest needs the newest messages to be kept: set Latest")
	}
	return nil
}

func (o *Options) logger() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.Default()
}
