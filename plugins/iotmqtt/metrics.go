package iotmqtt

import "github.com/redpanda-data/benthos/v4/public/service"

// metrics of the input; docs.go says what they count.
type metrics struct {
	unacked       *service.MetricGauge
	oldestUnacked *service.MetricGauge
	dropped       *service.MetricCounter
	rejected      *service.MetricCounter
	repeated      *service.MetricCounter
	sessionLost   *service.MetricCounter
}

func newMetrics(m *service.Metrics) metrics {
	return metrics{
		unacked:       m.NewGauge("iot_mqtt_unacked"),
		oldestUnacked: m.NewGauge("iot_mqtt_oldest_unacked_seconds"),
		dropped:       m.NewCounter("iot_mqtt_dropped"),
		rejected:      m.NewCounter("iot_mqtt_rejected"),
		repeated:      m.NewCounter("iot_mqtt_retained_repeated"),
		sessionLost:   m.NewCounter("iot_mqtt_session_lost"),
	}
}

// zeroed makes the counters appear at once: to Prometheus, one that appears with
// a 1 has not increased.
func (m metrics) zeroed() metrics {
	for _, counter := range []*service.MetricCounter{m.dropped, m.rejected, m.repeated, m.sessionLost} {
		counter.Incr(0)
	}
	return m
}
