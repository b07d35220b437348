package rows

import (
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
	"github.com/iotcast/iotcast/tests/bench/internal/swarm"
)

// idle: what a connection weighs that gets nothing.
func idle(b *Bench) error {
	n := b.connections(5000)
	peers := b.pick([]string{"gws", "nats", iotcast}, "raw", "coder", "centrifuge", "mosquitto")
	key := func(peer string) report.Key {
		return report.Key{Row: "idle", Case: connectionsCase(n), Peer: peer}
	}
	err := b.repeat(func(repetition int) error {
		for _, peer := range peers {
			b.measure(key(peer), repetition, func() (report.Values, error) { return b.weigh(peer, n) })
		}
		return nil
	})
	b.title("idle: memory of a connection at rest")
	b.Report.Table(b.Out, "idle", []report.Column{
		{Title: "RSS KiB a connection", Value: "rss", Format: "%.1f", Scale: 1. / 1024, Spread: true},
		{Title: "after a round of pings", Value: "rss_pinged", Format: "%.1f", Scale: 1. / 1024, Spread: true},
		{Title: "server's RSS before, MiB", Value: "before", Format: "%.0f", Scale: 1. / (1 << 20)},
	})
	for _, g := range []struct{ text, value string }{
		{"RSS a connection", "rss"},
		{"RSS a connection, after a round of pings", "rss_pinged"},
	} {
		bytes, ok := b.Report.Median(key(iotcast), g.value)
		b.Report.Judged("idle", g.text, 6, bytes/1024, " KiB", ok)
	}
	b.Report.PrintGoals(b.Out, "idle")
	return err
}

func (b *Bench) weigh(peer string, n int) (report.Values, error) {
	pings := b.phase(10 * time.Second)
	site, err := b.start(peer, lab.Options{Gateway: lab.Map{"ping_interval": pings.String()}})
	if err != nil {
		return nil, err
	}
	clients, before, each, err := b.atRest(site, swarm.Config{Readers: n})
	if err != nil {
		return nil, err
	}
	values := report.Values{"before": before, "rss": each}
	if peer != iotcast { // each has an interval of its own
		return values, nil
	}
	if err := b.Lab.Sleep(pings * 12 / 10); err != nil {
		return nil, err
	}
	values["rss_pinged"] = (site.RSS() - before) / float64(n)
	_, err = clients.Finish()
	return values, err
}

// storm: thousands of clients that connect at once, as after a restart.
func storm(b *Bench) error {
	n := b.connections(5000)
	peers := b.pick([]string{"gws", "centrifuge", iotcast}, "raw", "coder", "mosquitto")
	err := b.repeat(func(repetition int) error {
		for _, peer := range peers {
			k := report.Key{Row: "storm", Case: connectionsCase(n), Peer: peer}
			b.measure(k, repetition, func() (report.Values, error) { return b.handshakes(peer, n) })
		}
		return nil
	})
	b.title("storm: %d handshakes, 64 at a time", n)
	b.Report.Table(b.Out, "storm", []report.Column{
		{Title: "seconds", Value: "seconds", Format: "%.2f", Spread: true},
		{Title: "CPU µs a handshake", Value: "cpu", Format: "%.0f", Spread: true},
		{Title: "CPU to gws", Value: "cpu", Base: "gws"},
	})
	for _, peer := range []string{"gws", "centrifuge"} {
		key := func(p string) report.Key { return report.Key{Row: "storm", Case: connectionsCase(n), Peer: p} }
		b.judge("storm", "time to "+peer, key(iotcast), key(peer), "seconds", 1)
	}
	b.Report.PrintGoals(b.Out, "storm")
	return err
}

func (b *Bench) handshakes(peer string, n int) (report.Values, error) {
	site, err := b.start(peer, lab.Options{})
	if err != nil {
		return nil, err
	}
	if err := b.Lab.Sleep(b.phase(time.Second)); err != nil {
		return nil, err
	}
	before, err := site.CPU()
	if err != nil {
		return nil, err
	}
	// The handshake alone: nobody subscribes.
	clients, err := b.Lab.StartSwarm(swarm.Config{Address: site.Address, Path: site.Path, Protocol: "none", Readers: n})
	if err != nil {
		return nil, err
	}
	if err := clients.WaitReady(); err != nil {
		return nil, err
	}
	after, err := site.CPU()
	if err != nil {
		return nil, err
	}
	values := report.Values{
		"seconds": time.Duration(clients.Board.StormNano.Load()).Seconds(),
		"cpu":     (after - before).Seconds() / float64(n) * 1e6,
	}
	_, err = clients.Finish()
	return values, err
}
