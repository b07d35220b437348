package gateway

import (
	"maps"
	"sync"
	"time"
)

// Stats is what a gateway has done since it was made, for your metrics. What the names mean, and the reasons, is in the
// reference of websocket_gateways, where each is a metric: websocket_messages and so on.
type Stats struct {
	Connections int   // now
	Messages    int64 // envelopes and frames, broadcast while anyone was connected
	Deliveries  int64 // messages times connections
	Bytes       int64 // of these, with their headers
	Dropped     int64 // messages times connections, for clients that were slow
	Repeated    int64 // messages that were not sent again, as their event ID was known

	QueuedBytes     int64 // that wait for the client for which the most do
	HistoryMessages int64
	LatestMessages  int64

	Refused map[string]int64 // requests, by the reason, such as "origin"; "on_connect" is Authorize
	Closed  map[string]int64 // connections that have ended, by the reason, such as "slow_consumer"
}

// Stats is what the gateway has done up to now. It may be asked for as often as metrics are.
func (g *Gateway) Stats() Stats {
	now := g.route.Stats()
	s := Stats{
		Connections: g.route.Connections(), Messages: now.Messages, Deliveries: now.Deliveries, Bytes: now.Bytes,
		Dropped: now.Dropped, Repeated: now.Repeated,
		QueuedBytes: now.Queued, HistoryMessages: now.History, LatestMessages: now.Latest,
	}
	g.counts.mu.Lock()
	defer g.counts.mu.Unlock()
	s.Refused, s.Closed = maps.Clone(g.counts.refused), maps.Clone(g.counts.closed)
	return s
}

// counts are of what happens seldom.
type counts struct {
	mu              sync.Mutex
	refused, closed map[string]int64
}

func (c *counts) add(to *map[string]int64, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *to == nil {
		*to = make(map[string]int64)
	}
	(*to)[reason]++
}

// Handshake implements gateway.Observer. Only refusals have a reason.
func (c *counts) Handshake(_ int, reason string) {
	if reason != "" {
		c.add(&c.refused, reason)
	}
}

// Closed implements gateway.Observer.
func (c *counts) Closed(reason string) { c.add(&c.closed, reason) }

// The rest of gateway.Observer is about what is not counted here.

func (*counts) Received(int)         {}
func (*counts) Watched(bool)         {}
func (*counts) HandlerFailed(string) {}
func (*counts) Served(time.Duration) {}
