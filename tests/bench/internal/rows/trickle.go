package rows

import (
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
)

// trickle: a few messages a second, which nothing can be gained by gathering.
func trickle(b *Bench) error {
	const rate = 20
	n := b.connections(1000)
	l := load{
		readers:  n,
		payload:  payload,
		warm:     publisher.Order{Rate: rate, For: b.phase(time.Second)},
		measured: publisher.Order{Rate: rate, For: b.phase(10 * time.Second)},
	}
	peers := b.pick([]string{"raw", "gws", "mosquitto", "nats", iotcast}, "raw-batch", "coder")
	key := func(peer string) report.Key {
		return report.Key{Row: "trickle", Case: connectionsCase(n), Peer: peer}
	}
	err := b.repeat(func(repetition int) error {
		for _, peer := range peers {
			b.measure(key(peer), repetition, func() (report.Values, error) {
				site, err := b.start(peer, lab.Options{})
				if err != nil {
					return nil, err
				}
				return b.fanOut(site, l)
			})
		}
		return nil
	})
	b.title("trickle: %d messages a second", rate)
	b.Report.Table(b.Out, "trickle", []report.Column{
		{Title: "CPU s a million", Value: "cpu", Format: "%.2f", Spread: true},
		{Title: "to raw", Value: "cpu", Base: "raw"},
		{Title: "p50 ms", Value: "p50", Format: "%.1f", Spread: true},
		{Title: "to raw", Value: "p50", Base: "raw"},
		{Title: "p99 ms", Value: "p99", Format: "%.1f", Spread: true},
		{Title: "to raw", Value: "p99", Base: "raw"},
		{Title: "writes a delivery", Value: "writes", Format: "%.3f"},
	})
	for _, g := range []struct {
		text, peer, value string
		limit             float64
	}{
		{"CPU to raw", "raw", "cpu", 1.1},
		{"CPU to gws", "gws", "cpu", 1},
		{"p50 to raw", "raw", "p50", 1.25},
		{"p99 to raw", "raw", "p99", 1.25},
		{"p50 to mosquitto", "mosquitto", "p50", 1},
		{"p99 to mosquitto", "mosquitto", "p99", 1},
		{"p50 to nats-server", "nats", "p50", 1},
		{"p99 to nats-server", "nats", "p99", 1},
	} {
		b.judge("trickle", g.text, key(iotcast), key(g.peer), g.value, g.limit)
	}
	b.Report.PrintGoals(b.Out, "trickle")
	return err
}
