package rows

import (
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
)

// stalled: a tenth of the connections never read, with small receive buffers.
// What counts is what that costs the others.
func stalled(b *Bench) error {
	if len(b.pick([]string{iotcast})) == 0 {
		return nil
	}
	n := b.connections(1000)
	const none = "none stalled"
	key := func(name string) report.Key { return report.Key{Row: "stalled", Case: name, Peer: iotcast} }
	cases := []string{none, "disconnect", "drop_oldest"}
	err := b.repeat(func(repetition int) error {
		for _, name := range cases {
			b.measure(key(name), repetition, func() (report.Values, error) {
				l := b.closedLoop(n-n/10, window)
				gateway := lab.Map{"queue_bytes": 1 << 20}
				if name != none {
					l.stalled, gateway["slow_consumer"] = n/10, name
				}
				// So short that the queues overflow while it is measured, not before,
				// and so large that they do.
				l.warm, l.payload = publisher.Order{Window: window, Count: 300}, 1024
				return b.stall(l, gateway)
			})
		}
		return nil
	})
	b.title("stalled: a flood to %d connections that read, and %d that do not, payloads of 1 KiB, `queue_bytes: 1048576`", n-n/10, n/10)
	b.Report.Table(b.Out, "stalled", []report.Column{
		{Title: "CPU s a million that are read", Value: "cpu", Format: "%.2f", Spread: true},
		{Title: "p50 ms", Value: "p50", Format: "%.1f"},
		{Title: "p99 ms", Value: "p99", Format: "%.1f", Spread: true},
		{Title: "deliveries a second", Value: "rate", Format: "%.0fk", Scale: 1e-3},
		{Title: "closed as slow", Value: "closed", Format: "%.0f"},
		{Title: "messages dropped", Value: "dropped", Format: "%.0f"},
		{Title: "greatest growth of RSS, MiB", Value: "growth", Format: "%.1f", Scale: 1. / (1 << 20)},
	})
	for _, name := range cases[1:] {
		b.judge("stalled", "CPU with "+name+" to that with none stalled", key(name), key(none), "cpu", 1.2)
		b.judge("stalled", "p99 with "+name+" to that with none stalled", key(name), key(none), "p99", 1.2)
	}
	b.Report.PrintGoals(b.Out, "stalled")
	return err
}

func (b *Bench) stall(l load, gateway lab.Map) (report.Values, error) {
	site, err := b.start(iotcast, lab.Options{Gateway: gateway, Metrics: true})
	if err != nil {
		return nil, err
	}
	values, err := b.fanOut(site, l)
	if err != nil {
		return nil, err
	}
	if err := b.Lab.Sleep(1200 * time.Millisecond); err != nil { // the metrics follow once a second
		return nil, err
	}
	if values["closed"], err = site.Metric("websocket_closed", `reason="slow_consumer"`); err != nil {
		return nil, err
	}
	values["dropped"], err = site.Metric("websocket_dropped", "")
	return values, err
}
