package devbroker

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats are what there is, and what has happened since Start.
type Stats struct {
	Connections, Sessions int64
	RetainedMessages      int64
	RetainedBytes         int64 // counted if they are limited
	SessionBytes          int64 // of all sessions; the same
	Received, Sent        int64 // messages
	Delayed               int64 // messages of clients that were read no faster

	// By reason.
	RefusedConnections, RefusedMessages, RefusedSubscriptions, Dropped map[string]int64
}

// counters are what mochi does not count.
type counters struct {
	delayed                                       atomic.Int64
	connections, messages, subscriptions, dropped *counts
}

func newCounters() *counters {
	return &counters{
		connections: newCounts(byPassword, byCertificate, byNoCredentials, byWill, byLoginFailures, byLoginFailuresPerIP,
			byConnections, byConnectionsPerIP, bySessions),
		messages:      newCounts(byAuthorization, byTopic, byRetainedBytes),
		subscriptions: newCounts(byAuthorization, byFilter),
		dropped:       newCounts(bySessionFull, bySessionBytes, byQueueFull, byPacketSize),
	}
}

// counts count what happens seldom, by reason. The reasons are known before.
type counts struct {
	mu sync.Mutex
	of map[string]int64
}

func newCounts(reasons ...string) *counts {
	c := &counts{of: map[string]int64{}}
	for _, r := range reasons {
		c.of[r] = 0
	}
	return c
}

func (c *counts) add(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[reason]++
}

func (c *counts) all() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.of)
}

// refusedFilterBy is the reason that a filter is refused, by its name inside.
var refusedFilterBy = map[string]string{refusedFilter: byAuthorization, invalidFilter: byFilter}

// countFilter counts a filter if it is refused.
func (c *counters) countFilter(inside string) {
	if reason, refused := refusedFilterBy[inside]; refused {
		c.subscriptions.add(reason)
	}
}

// What the log calls what it reports of a connection, for those that are counted.
const (
	messageRefused  = "refused an MQTT message"
	messageDropped  = "dropped an MQTT message"
	messageTooLarge = "an MQTT message was not delivered"
)

// countRefusal counts what the log calls so.
func (c *counters) countRefusal(what string) {
	switch what {
	case messageRefused, messageDropped:
		c.messages.add(byAuthorization)
	case messageTooLarge:
		c.dropped.add(byPacketSize)
	}
}

// Stats tells what there is and what has happened.
func (b *Broker) Stats() Stats {
	info, h := b.server.Info, b.hook
	s := Stats{
		Connections:          atomic.LoadInt64(&info.ClientsConnected),
		Sessions:             int64(b.server.Clients.Len()),
		RetainedMessages:     atomic.LoadInt64(&info.Retained),
		Received:             atomic.LoadInt64(&info.MessagesReceived),
		Sent:                 atomic.LoadInt64(&info.MessagesSent),
		Delayed:              h.counters.delayed.Load(),
		RefusedConnections:   h.counters.connections.all(),
		RefusedMessages:      h.counters.messages.all(),
		RefusedSubscriptions: h.counters.subscriptions.all(),
		Dropped:              h.counters.dropped.all(),
	}
	s.RetainedBytes, s.SessionBytes = h.weights.all()
	_, s.Dropped[byQueueFull] = b.Dropped()
	return s
}
