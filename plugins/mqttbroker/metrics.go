package mqttbroker

import (
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/devbroker"
)

const metricsDescription = `

== Metrics

| Metric | Type | Meaning |
|---|---|---|
| ` + "`mqtt_broker_connections`" + ` | gauge | clients that are connected and have logged in |
| ` + "`mqtt_broker_sessions`" + ` | gauge | sessions, those of clients that are connected included |
| ` + "`mqtt_broker_retained_messages`" + ` | gauge | retained messages, the broker's own and those of permanent topics included; one with several names counts with each |
| ` + "`mqtt_broker_retained_bytes`" + ` | gauge | bytes of retained messages, as ` + "`limits.max_retained_bytes`" + ` counts them; only with this limit |
| ` + "`mqtt_broker_session_bytes`" + ` | gauge | bytes of messages in all sessions, as ` + "`limits.max_session_bytes`" + ` counts them; only with this limit |
| ` + "`mqtt_broker_messages_received`, `mqtt_broker_messages_sent`" + ` | counter | messages from clients and to clients, of every QoS |
| ` + "`mqtt_broker_messages_delayed`" + ` | counter | messages that had to wait for ` + "`limits.message_rate`" + ` |
| ` + "`mqtt_broker_messages_refused`" + ` | counter | messages from clients that went nowhere or were not kept, by ` + "`reason`" + ` |
| ` + "`mqtt_broker_messages_dropped`" + ` | counter | messages to clients that were dropped, by ` + "`reason`" + ` |
| ` + "`mqtt_broker_connections_refused`" + ` | counter | clients that were refused with a CONNACK, by ` + "`reason`" + ` |
| ` + "`mqtt_broker_subscriptions_refused`" + ` | counter | filters that were refused, by ` + "`reason`" + ` |

They are brought up to date once a second. The reasons:

| Metric | Reason | |
|---|---|---|
| ` + "`mqtt_broker_connections_refused`" + ` | ` + "`password`, `certificate`, `no_credentials`" + ` | the user or the password, or the certificate, is not right, or none was shown |
| | ` + "`will`" + ` | the client may not publish its will, or its topic is none |
| | ` + "`login_failures`, `login_failures_per_ip`, `max_connections`, `max_connections_per_ip`, `max_sessions`" + ` | the limit of that name |
| ` + "`mqtt_broker_messages_refused`" + ` | ` + "`not_authorized`" + ` | the client may not publish to the topic |
| | ` + "`topic_invalid`" + ` | a topic of too many levels; the connection ends |
| | ` + "`max_retained_bytes`" + ` | the limit of that name |
| ` + "`mqtt_broker_subscriptions_refused`" + ` | ` + "`not_authorized`, `filter_invalid`" + ` | the client may not read what the filter matches, or it is no filter |
| ` + "`mqtt_broker_messages_dropped`" + ` | ` + "`session_full`" + ` | the session had 65,535 messages that were not acknowledged |
| | ` + "`max_session_bytes`" + ` | the limit of that name |
| | ` + "`queue_full`" + ` | 65,535 messages waited for a connection that reads too slowly |
| | ` + "`maximum_packet_size`" + ` | the message is larger than its MQTT 5 client takes |
`

// metrics writes what the broker does to Benthos' metrics. They are read once a second, so that no message waits for one.
type metrics struct {
	gauges   []gauge
	counters []counter
	reasons  []reasons
}

type gauge struct {
	metric *service.MetricGauge
	of     func(*devbroker.Stats) int64
}

type counter struct {
	metric *service.MetricCounter
	of     func(*devbroker.Stats) int64
	before int64
}

type reasons struct {
	metric *service.MetricCounter
	of     func(*devbroker.Stats) map[string]int64
	before map[string]int64
}

func newMetrics(m *service.Metrics, limits devbroker.Limits) *metrics {
	all := &metrics{
		gauges: []gauge{
			{m.NewGauge("mqtt_broker_connections"), func(s *devbroker.Stats) int64 { return s.Connections }},
			{m.NewGauge("mqtt_broker_sessions"), func(s *devbroker.Stats) int64 { return s.Sessions }},
			{m.NewGauge("mqtt_broker_retained_messages"), func(s *devbroker.Stats) int64 { return s.RetainedMessages }},
		},
		counters: []counter{
			{metric: m.NewCounter("mqtt_broker_messages_received"), of: func(s *devbroker.Stats) int64 { return s.Received }},
			{metric: m.NewCounter("mqtt_broker_messages_sent"), of: func(s *devbroker.Stats) int64 { return s.Sent }},
			{metric: m.NewCounter("mqtt_broker_messages_delayed"), of: func(s *devbroker.Stats) int64 { return s.Delayed }},
		},
		reasons: []reasons{
			{metric: m.NewCounter("mqtt_broker_connections_refused", "reason"), of: func(s *devbroker.Stats) map[string]int64 { return s.RefusedConnections }},
			{metric: m.NewCounter("mqtt_broker_messages_refused", "reason"), of: func(s *devbroker.Stats) map[string]int64 { return s.RefusedMessages }},
			{metric: m.NewCounter("mqtt_broker_subscriptions_refused", "reason"), of: func(s *devbroker.Stats) map[string]int64 { return s.RefusedSubscriptions }},
			{metric: m.NewCounter("mqtt_broker_messages_dropped", "reason"), of: func(s *devbroker.Stats) map[string]int64 { return s.Dropped }},
		},
	}
	if limits.RetainedBytes > 0 {
		all.gauges = append(all.gauges, gauge{m.NewGauge("mqtt_broker_retained_bytes"), func(s *devbroker.Stats) int64 { return s.RetainedBytes }})
	}
	if limits.SessionBytes > 0 {
		all.gauges = append(all.gauges, gauge{m.NewGauge("mqtt_broker_session_bytes"), func(s *devbroker.Stats) int64 { return s.SessionBytes }})
	}
	return all
}

// take reads what there is now. Counters that nothing was counted with are there from the beginning: to Prometheus, one that
// appears with a 1 has not increased.
func (m *metrics) take(s devbroker.Stats) {
	for _, g := range m.gauges {
		g.metric.Set(g.of(&s))
	}
	for i := range m.counters {
		c := &m.counters[i]
		now := c.of(&s)
		c.metric.Incr(now - c.before)
		c.before = now
	}
	for i := range m.reasons {
		r := &m.reasons[i]
		now := r.of(&s)
		for reason, n := range now {
			r.metric.Incr(n-r.before[reason], reason)
		}
		r.before = now
	}
}

// Export writes what the broker does to metrics, until stop.
func Export(b *devbroker.Broker, limits devbroker.Limits, to *service.Metrics) (stop func()) {
	m := newMetrics(to, limits)
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			m.take(b.Stats())
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	})
	return func() { close(quit); done.Wait() }
}
