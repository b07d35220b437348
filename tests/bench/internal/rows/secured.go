package rows

import (
	"fmt"
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
)

// secured: the flood and the trickle with tokens, origins, limits, access bindings
// and metrics on, and with all of them off.
func secured(b *Bench) error {
	n := b.connections(1000)
	loads := []struct {
		name string
		load load
	}{
		{"flood", b.closedLoop(n, window)},
		{"trickle", load{
			readers: n, payload: payload,
			warm:     publisher.Order{Rate: 20, For: b.phase(time.Second)},
			measured: publisher.Order{Rate: 20, For: b.phase(10 * time.Second)},
		}},
	}
	key := func(load, config string) report.Key {
		return report.Key{Row: "secured", Case: load, Peer: config}
	}
	const off, on = "off", "on"
	err := b.repeat(func(repetition int) error {
		for _, l := range loads {
			for _, config := range []string{off, on} {
				b.measure(key(l.name, config), repetition, func() (report.Values, error) {
					site, err := b.Lab.StartIotcast(lab.Options{Secured: config == on, Metrics: config == on})
					if err != nil {
						return nil, err
					}
					return b.fanOut(site, l.load)
				})
			}
		}
		return nil
	})
	b.title("secured: tokens, origins, limits, access bindings and metrics, off and on, N=%d", n)
	b.Report.Table(b.Out, "secured", []report.Column{
		{Title: "CPU s a million", Value: "cpu", Format: "%.3f", Spread: true},
		{Title: "to off", Value: "cpu", Base: off},
		{Title: "p50 ms", Value: "p50", Format: "%.1f", Spread: true},
		{Title: "to off", Value: "p50", Base: off},
		{Title: "p99 ms", Value: "p99", Format: "%.1f", Spread: true},
		{Title: "writes a delivery", Value: "writes", Format: "%.3f"},
	})
	for _, l := range loads {
		b.judge("secured", fmt.Sprintf("CPU of the %s, on to off", l.name), key(l.name, on), key(l.name, off), "cpu", 1.05)
	}
	b.Report.PrintGoals(b.Out, "secured")
	return err
}
