package rows

import (
	"fmt"
	"slices"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
)

const window = 32 // messages under way in a flood

// flood: messages as fast as the server delivers them.
func flood(b *Bench) error {
	sizes := []int{b.connections(1000)}
	if !b.Quick {
		sizes = append(sizes, 5000)
	}
	measure := func(name, peer string, repetition int, l load) {
		b.measure(report.Key{Row: "flood", Case: name, Peer: peer}, repetition, func() (report.Values, error) {
			site, err := b.start(peer, lab.Options{})
			if err != nil {
				return nil, err
			}
			return b.fanOut(site, l)
		})
	}
	large := b.closedLoop(b.connections(2000), window)
	large.payload = 1024
	largeCase := connectionsCase(large.readers) + ", 1 KiB"
	err := b.repeat(func(repetition int) error {
		for _, n := range sizes {
			for _, peer := range b.pick([]string{"raw", "raw-batch", "gws", "nats", iotcast}, "coder", "gateway", "mosquitto") {
				measure(connectionsCase(n), peer, repetition, b.closedLoop(n, window))
			}
		}
		for _, peer := range b.pick([]string{"raw-batch", iotcast}, "raw", "gws", "nats", "coder", "gateway", "mosquitto") {
			measure(largeCase, peer, repetition, large)
		}
		return nil
	})
	b.title("flood: closed loop, %d messages in flight", window)
	b.Report.Table(b.Out, "flood", floodColumns)
	key := func(n int, peer string) report.Key {
		return report.Key{Row: "flood", Case: connectionsCase(n), Peer: peer}
	}
	for _, n := range sizes {
		b.judge("flood", "CPU to raw-batch, "+connectionsCase(n), key(n, iotcast), key(n, "raw-batch"), "cpu", 1.6)
		b.judge("flood", "CPU to nats-server, "+connectionsCase(n), key(n, iotcast), key(n, "nats"), "cpu", 1)
	}
	if !b.Quick {
		b.judge("flood", "CPU at N=5000 to that at N=1000", key(5000, iotcast), key(1000, iotcast), "cpu", 1)
	}
	// A goal is what a figure must not exceed.
	ours := report.Key{Row: "flood", Case: largeCase, Peer: iotcast}
	floor := report.Key{Row: "flood", Case: largeCase, Peer: "raw-batch"}
	b.judge("flood", "deliveries a second of raw-batch to ours, "+largeCase, floor, ours, "rate", 1/0.9)
	b.Report.PrintGoals(b.Out, "flood")
	return err
}

// batched: the same with ten messages an envelope. A batch is one WebSocket
// message, so there is a case with as many envelopes in flight as the flood
// has, and one with as many IoT messages.
func batched(b *Bench) error {
	n := b.connections(1000)
	ten := lab.Map{"batching": lab.Map{"count": 10, "period": "100ms"}}
	cases := []struct {
		count, window int
		peer          string
		input         lab.Map
	}{
		{1, window, "raw-batch", nil},
		{1, window, iotcast, nil},
		{10, window, iotcast, ten},
		{1, 10 * window, "raw-batch", nil},
		{1, 10 * window, iotcast, nil},
		{10, 10 * window, iotcast, ten},
	}
	key := func(count, window int, peer string) report.Key {
		return report.Key{Row: "batched", Case: fmt.Sprintf("window %d, count %d", window, count), Peer: peer}
	}
	peers := b.pick([]string{"raw-batch", iotcast})
	err := b.repeat(func(repetition int) error {
		for _, c := range cases {
			if !slices.Contains(peers, c.peer) || b.Quick && c.window > window {
				continue
			}
			b.measure(key(c.count, c.window, c.peer), repetition, func() (report.Values, error) {
				site, err := b.start(c.peer, lab.Options{Input: c.input})
				if err != nil {
					return nil, err
				}
				return b.fanOut(site, b.closedLoop(n, c.window))
			})
		}
		return nil
	})
	b.title("batched: the flood with `batching: { count: 10, period: 100ms }`, N=%d", n)
	b.Report.Table(b.Out, "batched", floodColumns)
	for _, w := range []int{window, 10 * window} {
		one, ok := b.Report.Median(key(1, w, iotcast), "cpu")
		ten, okTen := b.Report.Median(key(10, w, iotcast), "cpu")
		b.Report.Judged("batched", fmt.Sprintf("CPU of count 10, window %d: a third of count 1, or 0.12 s", w), max(one/3, 0.12), ten, " s", ok && okTen)
	}
	b.Report.PrintGoals(b.Out, "batched")
	return err
}
