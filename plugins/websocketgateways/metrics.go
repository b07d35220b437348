package websocketgateways

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
)

// metrics, which docs.go explains, writes what gateways do to Benthos' metrics. What happens seldom is
// reported as it happens; what happens for every delivery is counted by fanout
// and read once a second, so that no broadcast waits for a metric.
type metrics struct {
	up             *service.MetricGauge
	acceptFailed   *service.MetricCounter
	connections    *service.MetricGauge
	handshakes     *service.MetricCounter
	closed         *service.MetricCounter
	messages       *service.MetricCounter
	deliveries     *service.MetricCounter
	bytes          *service.MetricCounter
	dropped        *service.MetricCounter
	gaps           *service.MetricCounter
	repeated       *service.MetricCounter
	queued         *service.MetricGauge
	latest         *service.MetricGauge
	history        *service.MetricGauge
	received       *service.MetricCounter
	receivedBytes  *service.MetricCounter
	watched        *service.MetricCounter
	handlersFailed *service.MetricCounter
	latency        *service.MetricTimer
}

func newMetrics(m *service.Metrics) *metrics {
	return &metrics{
		up:             m.NewGauge("websocket_gateway_up", "gateway"),
		acceptFailed:   m.NewCounter("websocket_accept_failed", "gateway"),
		connections:    m.NewGauge("websocket_connections", "gateway", "path"),
		handshakes:     m.NewCounter("websocket_handshakes", "gateway", "path", "status", "reason"),
		closed:         m.NewCounter("websocket_closed", "gateway", "path", "reason"),
		messages:       m.NewCounter("websocket_messages", "gateway", "path"),
		deliveries:     m.NewCounter("websocket_deliveries", "gateway", "path"),
		bytes:          m.NewCounter("websocket_bytes", "gateway", "path"),
		dropped:        m.NewCounter("websocket_dropped", "gateway", "path"),
		gaps:           m.NewCounter("websocket_gaps", "gateway", "path", "reason"),
		repeated:       m.NewCounter("websocket_repeated", "gateway", "path"),
		queued:         m.NewGauge("websocket_queued_bytes", "gateway", "path"),
		latest:         m.NewGauge("websocket_latest_messages", "gateway", "path"),
		history:        m.NewGauge("websocket_history_messages", "gateway", "path"),
		received:       m.NewCounter("websocket_received", "gateway", "path"),
		receivedBytes:  m.NewCounter("websocket_received_bytes", "gateway", "path"),
		watched:        m.NewCounter("websocket_watch_changes", "gateway", "path", "result"),
		handlersFailed: m.NewCounter("websocket_handler_errors", "gateway", "path", "handler"),
		latency:        m.NewTimer("websocket_fanout_latency_ns", "gateway", "path"),
	}
}

// observe is gateway.Observe. Counters that nothing was counted with are there
// from the beginning: to Prometheus, one that appears with a 1 has not increased.
func (m *metrics) observe(label, path string) gateway.Observer {
	if path != "" {
		m.handshakes.Incr(0, label, path, strconv.Itoa(http.StatusSwitchingProtocols), "")
		for _, reason := range gateway.Reasons() {
			m.closed.Incr(0, label, path, reason)
		}
		for _, handler := range (gateway.Handlers{}).Names() {
			m.handlersFailed.Incr(0, label, path, handler)
		}
		m.watched.Incr(0, label, path, "accepted")
		m.watched.Incr(0, label, path, "refused")
		m.received.Incr(0, label, path)
		m.receivedBytes.Incr(0, label, path)
	}
	return &observer{metrics: m, gateway: label, path: path}
}

// observer reports one route.
type observer struct {
	*metrics
	gateway, path string
}

var _ gateway.Observer = (*observer)(nil)

// Handshake implements gateway.Observer.
func (o *observer) Handshake(status int, reason string) {
	o.handshakes.Incr(1, o.gateway, o.path, strconv.Itoa(status), reason)
}

// Closed implements gateway.Observer.
func (o *observer) Closed(reason string) { o.closed.Incr(1, o.gateway, o.path, reason) }

// Received implements gateway.Observer.
func (o *observer) Received(bytes int) {
	o.received.Incr(1, o.gateway, o.path)
	o.receivedBytes.Incr(int64(bytes), o.gateway, o.path)
}

// Watched implements gateway.Observer.
func (o *observer) Watched(accepted bool) {
	result := "refused"
	if accepted {
		result = "accepted"
	}
	o.watched.Incr(1, o.gateway, o.path, result)
}

// HandlerFailed implements gateway.Observer.
func (o *observer) HandlerFailed(handler string) {
	o.handlersFailed.Incr(1, o.gateway, o.path, handler)
}

// Served implements gateway.Observer.
func (o *observer) Served(d time.Duration) { o.latency.Timing(d.Nanoseconds(), o.gateway, o.path) }

// export reads the counters of all routes once a second, until stop.
func (m *metrics) export(set *gateway.Set) (stop func()) {
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		reading := reading{metrics: m, failed: map[*gateway.Gateway]int64{}, routes: map[*gateway.Route]counted{}}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			reading.take(set.All())
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	})
	return func() { close(quit); done.Wait() }
}

// reading is what was read of gateways and routes the last time.
type reading struct {
	*metrics
	failed map[*gateway.Gateway]int64
	routes map[*gateway.Route]counted
}

type counted struct {
	gateway, path string
	stats         fanout.Stats
}

// take reads what there is now. The gauges of what is gone go to zero, for a metric
// cannot be taken back; what has come in its place has its own values after that.
func (r *reading) take(all []*gateway.Gateway) {
	here := map[*gateway.Route]counted{}
	for _, g := range all {
		for path, route := range g.Routes() {
			here[route] = counted{g.Label(), path, r.routes[route].stats}
		}
	}
	for route, before := range r.routes {
		if _, ok := here[route]; ok {
			continue
		}
		before.stats = r.add(before.gateway, before.path, route, before.stats)
		if route.Connections() > 0 { // they are about to end
			here[route] = before
			continue
		}
		for _, gauge := range []*service.MetricGauge{r.connections, r.queued, r.latest, r.history} {
			gauge.Set(0, before.gateway, before.path)
		}
	}
	for g := range r.failed {
		if !slices.Contains(all, g) {
			r.up.Set(0, g.Label())
			delete(r.failed, g)
		}
	}
	for _, g := range all {
		r.up.Set(up(g), g.Label())
		n := g.AcceptFailed()
		r.acceptFailed.Incr(max(0, n-r.failed[g]), g.Label()) // another listener begins at 0
		r.failed[g] = n
	}
	r.routes = here
	for route, now := range here {
		if !route.Removed() {
			now.stats = r.add(now.gateway, now.path, route, now.stats)
			here[route] = now
		}
	}
}

func up(g *gateway.Gateway) int64 {
	if g.Accepts() {
		return 1
	}
	return 0
}

func (m *metrics) add(gateway, path string, r *gateway.Route, before fanout.Stats) fanout.Stats {
	now := r.Stats()
	m.connections.Set(int64(r.Connections()), gateway, path)
	m.queued.Set(now.Queued, gateway, path)
	m.latest.Set(now.Latest, gateway, path)
	m.history.Set(now.History, gateway, path)
	m.messages.Incr(now.Messages-before.Messages, gateway, path)
	m.deliveries.Incr(now.Deliveries-before.Deliveries, gateway, path)
	m.bytes.Incr(now.Bytes-before.Bytes, gateway, path)
	m.repeated.Incr(now.Repeated-before.Repeated, gateway, path)
	m.dropped.Incr(now.Dropped-before.Dropped, gateway, path)
	for _, reason := range fanout.GapReasons() {
		m.gaps.Incr(now.Gaps[reason]-before.Gaps[reason], gateway, path, reason.String())
	}
	return now
}
