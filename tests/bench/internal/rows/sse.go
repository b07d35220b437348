package rows

import (
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
)

// sse: the trickle to clients that take server-sent events, and to as many with
// WebSockets, of the same route.
func sse(b *Bench) error {
	if len(b.pick([]string{iotcast})) == 0 {
		return nil
	}
	n := b.connections(1000)
	const frames, events = "WebSocket", "server-sent events"
	protocols := map[string]string{frames: "envelope", events: "events"}
	key := func(name string) report.Key { return report.Key{Row: "sse", Case: name, Peer: iotcast} }
	err := b.repeat(func(repetition int) error {
		for _, name := range []string{frames, events} {
			b.measure(key(name), repetition, func() (report.Values, error) {
				site, err := b.start(iotcast, lab.Options{Route: lab.Map{"sse": true}})
				if err != nil {
					return nil, err
				}
				site.Protocol = protocols[name]
				return b.fanOut(site, load{
					readers: n, payload: payload,
					warm:     publisher.Order{Rate: trickleRate, For: b.phase(time.Second)},
					measured: publisher.Order{Rate: trickleRate, For: b.phase(10 * time.Second)},
				})
			})
		}
		return nil
	})
	b.title("sse: the trickle as server-sent events, N=%d", n)
	b.Report.Table(b.Out, "sse", []report.Column{
		{Title: "CPU s a million", Value: "cpu", Format: "%.2f", Spread: true},
		{Title: "p50 ms", Value: "p50", Format: "%.1f", Spread: true},
		{Title: "p99 ms", Value: "p99", Format: "%.1f", Spread: true},
		{Title: "writes a delivery", Value: "writes", Format: "%.3f"},
		{Title: "bytes a delivery", Value: "bytes", Format: "%.0f"},
	})
	b.judge("sse", "CPU to WebSocket", key(events), key(frames), "cpu", 1.1)
	b.Report.PrintGoals(b.Out, "sse")
	return err
}
