package rows

import (
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
	"github.com/iotcast/iotcast/tests/bench/internal/swarm"
)

// slow: one client whose link carries a hundredth of what it asks for, where it is to
// get the newest and nothing old. What counts is how old what it gets is, and what it
// costs the others. A connection that ends fails the measurement.
func slow(b *Bench) error {
	if len(b.pick([]string{iotcast})) == 0 {
		return nil
	}
	const devices, rate, rest = 50, 2000, 500 * time.Millisecond
	n := b.connections(300)
	const none, one = "none slow", "one slow"
	key := func(name string) report.Key { return report.Key{Row: "slow", Case: name, Peer: iotcast} }
	err := b.repeat(func(repetition int) error {
		for _, name := range []string{none, one} {
			b.measure(key(name), repetition, func() (report.Values, error) {
				site, err := b.start(iotcast, lab.Options{
					Gateway: lab.Map{"slow_consumer": "latest"},
					Route:   lab.Map{"watch": lab.Map{}, "latest": lab.Map{"by": "device"}},
				})
				if err != nil {
					return nil, err
				}
				l := load{
					readers: n, payload: payload, devices: devices, lossy: true,
					watch: swarm.Watch{Parameter: "device_id", Pattern: deviceID, Each: devices, Devices: devices},
					// In a short run, too, the slow one's socket is full after it.
					warm:     publisher.Order{Rate: rate, For: 2 * time.Second, Patience: rest},
					measured: publisher.Order{Rate: rate, For: max(b.phase(10*time.Second), time.Second), Patience: rest},
				}
				if name == one {
					l.slow = 1
				}
				return b.fanOut(site, l)
			})
		}
		return nil
	})
	b.title("slow: %d messages a second of %d devices to %d connections, and to one of %d kbit/s, `slow_consumer: latest`",
		rate, devices, n, slowBits/1000)
	b.Report.Table(b.Out, "slow", []report.Column{
		{Title: "CPU s a million, of the others", Value: "cpu", Format: "%.3f", Spread: true},
		{Title: "p50 ms, of the others", Value: "p50", Format: "%.1f", Spread: true},
		{Title: "p99 ms, of the others", Value: "p99", Format: "%.1f", Spread: true},
		{Title: "% passed over, of the others", Value: "passed", Format: "%.2f", Scale: 100},
		{Title: "messages a second, to the slow one", Value: "got", Format: "%.1f"},
		{Title: "ms older than the newest that its link could carry, p50", Value: "late", Format: "%.0f", Spread: true},
		{Title: "the most", Value: "late_max", Format: "%.0f", Spread: true},
	})
	late, ok := b.Report.Median(key(one), "late_max")
	b.Report.Judged("slow", "older than the newest that the link could carry, the most", 1, late/1000, " s", ok)
	b.judge("slow", "CPU of the others, to that with none slow", key(one), key(none), "cpu", 1.05)
	b.judge("slow", "p50 of the others, to that with none slow", key(one), key(none), "p50", 1.05)
	b.judge("slow", "p99 of the others, to that with none slow", key(one), key(none), "p99", 1.05)
	b.Report.PrintGoals(b.Out, "slow")
	return err
}
