package rows

import (
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
)

const trickleRate = 20 // messages a second

// trickle: a few messages a second, which nothing can be gained by gathering. To so
// many connections that a message is a good part of a core's time, they are fewer.
func trickle(b *Bench) error {
	few := []string{"raw", "gws", "mosquitto", "nats", iotcast}
	cases := []struct {
		n     int
		rate  float64
		peers []string
	}{
		{b.connections(1000), trickleRate, few},
		{b.many(15_000), 4, []string{"raw", "gws", iotcast}},
	}
	key := func(n int, peer string) report.Key {
		return report.Key{Row: "trickle", Case: connectionsCase(n), Peer: peer}
	}
	err := b.repeat(func(repetition int) error {
		for _, c := range cases {
			for _, peer := range b.pick(c.peers, "raw-batch", "coder", "gateway") {
				b.measure(key(c.n, peer), repetition, func() (report.Values, error) {
					site, err := b.start(peer, lab.Options{})
					if err != nil {
						return nil, err
					}
					return b.fanOut(site, load{
						readers: c.n, payload: payload,
						warm:     publisher.Order{Rate: c.rate, For: b.phase(time.Second)},
						measured: publisher.Order{Rate: c.rate, For: b.phase(10 * time.Second)},
					})
				})
			}
		}
		return nil
	})
	n, many := cases[0].n, cases[1].n
	b.title("trickle: %d messages a second, and %.0f with N=%d", trickleRate, cases[1].rate, many)
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
		b.judge("trickle", g.text, key(n, iotcast), key(n, g.peer), g.value, g.limit)
	}
	b.judge("trickle", "p50 to gws, "+connectionsCase(many), key(many, iotcast), key(many, "gws"), "p50", 1)
	b.Report.PrintGoals(b.Out, "trickle")
	return err
}
