package websocketgateways

import (
	"strconv"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"iotcast/internal/fanout"
	"iotcast/internal/gateway"
)

// metrics writes what gateways do to Benthos' metrics. What happens seldom is
// reported as it happens; what happens for every delivery is counted by fanout
// and read once a second, so that no broadcast waits for a metric.
type metrics struct {
	connections *service.MetricGauge
	handshakes  *service.MetricCounter
	closed      *service.MetricCounter
	messages    *service.MetricCounter
	deliveries  *service.MetricCounter
	bytes       *service.MetricCounter
	dropped     *service.MetricCounter
}

var _ gateway.Observer = (*metrics)(nil)

func newMetrics(m *service.Metrics) *metrics {
	return &metrics{
		connections: m.NewGauge("websocket_connections", "gateway", "path"),
		handshakes:  m.NewCounter("websocket_handshakes", "gateway", "path", "status"),
		closed:      m.NewCounter("websocket_closed", "gateway", "path", "reason"),
		messages:    m.NewCounter("websocket_messages", "gateway", "path"),
		deliveries:  m.NewCounter("websocket_deliveries", "gateway", "path"),
		bytes:       m.NewCounter("websocket_bytes", "gateway", "path"),
		dropped:     m.NewCounter("websocket_dropped", "gateway", "path"),
	}
}

// Handshake implements gateway.Observer.
func (m *metrics) Handshake(gateway, path string, status int) {
	m.handshakes.Incr(1, gateway, path, strconv.Itoa(status))
}

// Closed implements gateway.Observer.
func (m *metrics) Closed(gateway, path, reason string) { m.closed.Incr(1, gateway, path, reason) }

// export reads the counters of all routes once a second, until stop.
func (m *metrics) export(set *gateway.Set) (stop func()) {
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		seen := map[*gateway.Route]fanout.Stats{}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			for _, g := range set.All() {
				for path, r := range g.Routes() {
					seen[r] = m.add(g.Label(), path, r, seen[r])
				}
			}
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	})
	return func() { close(quit); done.Wait() }
}

func (m *metrics) add(gateway, path string, r *gateway.Route, before fanout.Stats) fanout.Stats {
	now := r.Stats()
	m.connections.Set(int64(r.Connections()), gateway, path)
	m.messages.Incr(now.Messages-before.Messages, gateway, path)
	m.deliveries.Incr(now.Deliveries-before.Deliveries, gateway, path)
	m.bytes.Incr(now.Bytes-before.Bytes, gateway, path)
	m.dropped.Incr(now.Dropped-before.Dropped, gateway, path)
	return now
}
