package iotmqtt

import (
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// metrics of the input; docs.go says what they count.
type metrics struct {
	waiting     *waiting
	dropped     *service.MetricCounter
	rejected    *service.MetricCounter
	repeated    *service.MetricCounter
	expired     *service.MetricCounter
	sessionLost *service.MetricCounter
}

func newMetrics(m *service.Metrics) metrics {
	return metrics{
		waiting: &waiting{
			of:            make(map[*connection]backlog),
			unacked:       m.NewGauge("iot_mqtt_unacked"),
			oldestUnacked: m.NewGauge("iot_mqtt_oldest_unacked_seconds"),
		},
		dropped:     m.NewCounter("iot_mqtt_dropped"),
		rejected:    m.NewCounter("iot_mqtt_rejected"),
		repeated:    m.NewCounter("iot_mqtt_retained_repeated"),
		expired:     m.NewCounter("iot_mqtt_expired"),
		sessionLost: m.NewCounter("iot_mqtt_session_lost"),
	}
}

// zeroed makes the metrics appear at once: to Prometheus, a counter that appears with
// a 1 has not increased.
func (m metrics) zeroed() metrics {
	for _, counter := range []*service.MetricCounter{m.dropped, m.rejected, m.repeated, m.expired, m.sessionLost} {
		counter.Incr(0)
	}
	m.waiting.set(nil, 0, time.Time{})
	return m
}

// waiting is what all connections of an input have received and not acknowledged.
type waiting struct {
	mu            sync.Mutex
	of            map[*connection]backlog
	unacked       *service.MetricGauge
	oldestUnacked *service.MetricGauge
}

// backlog is that of one connection.
type backlog struct {
	n      int
	oldest time.Time
}

func (w *waiting) set(c *connection, n int, oldest time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.of, c)
	if n > 0 {
		w.of[c] = backlog{n, oldest}
	}
	total, age := 0, 0.0
	for _, b := range w.of {
		total += b.n
		age = max(age, time.Since(b.oldest).Seconds())
	}
	w.unacked.Set(int64(total))
	w.oldestUnacked.SetFloat64(age)
}
