package envelopelog

import "github.com/redpanda-data/benthos/v4/public/service"

// outputMetrics are what outputconfig.go says.
type outputMetrics struct {
	stored   *service.MetricCounter
	pending  *service.MetricGauge
	again    *service.MetricCounter
	rejected *service.MetricCounter
	failed   *service.MetricCounter
	latency  *service.MetricTimer
}

func newOutputMetrics(m *service.Metrics) outputMetrics {
	all := outputMetrics{
		stored:   m.NewCounter("envelope_log_stored"),
		pending:  m.NewGauge("envelope_log_unconfirmed"),
		again:    m.NewCounter("envelope_log_published_again"),
		rejected: m.NewCounter("envelope_log_rejected"),
		failed:   m.NewCounter("envelope_log_failed"),
		latency:  m.NewTimer("envelope_log_store_latency_ns"),
	}
	zero(all.stored, all.again, all.rejected, all.failed)
	all.pending.Set(0)
	return all
}

// inputMetrics are what inputconfig.go says.
type inputMetrics struct {
	read      *service.MetricCounter
	copies    *service.MetricCounter
	restart   *service.MetricCounter
	removed   *service.MetricCounter
	differing *service.MetricCounter
}

func newInputMetrics(m *service.Metrics) inputMetrics {
	all := inputMetrics{
		read:      m.NewCounter("envelope_log_read"),
		copies:    m.NewCounter("envelope_log_copies"),
		restart:   m.NewCounter("envelope_log_begun_again"),
		removed:   m.NewCounter("envelope_log_removed_unread"),
		differing: m.NewCounter("envelope_log_read_from_leader"),
	}
	zero(all.read, all.copies, all.restart, all.removed, all.differing)
	return all
}

// zero makes counters appear at once: to Prometheus, one that appears with a 1 has
// not increased.
func zero(counters ...*service.MetricCounter) {
	for _, c := range counters {
		c.Incr(0)
	}
}
