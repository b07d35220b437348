package rows

import (
	"fmt"
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
	"github.com/iotcast/iotcast/tests/bench/internal/swarm"
)

// selective is a load of clients that choose among devices.
type selective struct {
	readers int
	watch   swarm.Watch
	query   string  // beside what they choose
	rate    float64 // messages a second, of a device at random
	devices int
	input   lab.Map // of the trigger
}

// watch: messages of many devices, to clients that each want a few of them. What the
// same messages cost when nobody wants them is not counted: most of that is MQTT's, and
// at one delivery a message it would be nearly all. They come in batches, of which each
// client gets what concerns it; without, each delivery wakes a thread at both ends.
func watch(b *Bench) error {
	if len(b.pick([]string{iotcast})) == 0 {
		return nil
	}
	many, some := b.connections(5000), b.connections(1000)
	const below = devicesTopic + "/#"
	batches := lab.Map{"batching": lab.Map{"count": 1000, "period": "50ms"}} // 20 a second, like the trickle
	cases := []struct {
		name string
		load selective
	}{
		{"one of 5000 devices", selective{many, swarm.Watch{Parameter: "device_id", Pattern: deviceID, Each: 1, Devices: many}, "", 2000, many, batches}},
		{"ten of 10000 devices", selective{some, swarm.Watch{Parameter: "device_id", Pattern: deviceID, Each: 10, Devices: 10 * some}, "", 2000, 10 * some, batches}},
		{"ten filters", selective{some, swarm.Watch{Parameter: "topic", Pattern: below, Each: 10, Devices: 10 * some}, "", 2000, 10 * some, batches}},
		{"one of 5000 devices, no batches", selective{many, swarm.Watch{Parameter: "device_id", Pattern: deviceID, Each: 1, Devices: many}, "", 2000, many, nil}},
		{"50 devices, all", selective{some, swarm.Watch{Parameter: "device_id", Pattern: deviceID, Each: 50, Devices: 50}, "", 2000, 50, nil}},
		{"50 devices, interval=1s", selective{some, swarm.Watch{Parameter: "device_id", Pattern: deviceID, Each: 50, Devices: 50}, "&interval=1s", 2000, 50, nil}},
	}
	key := func(name string) report.Key { return report.Key{Row: "watch", Case: name, Peer: iotcast} }
	plain := key("everything, 20 a second")
	err := b.repeat(func(repetition int) error {
		b.measure(plain, repetition, func() (report.Values, error) {
			site, err := b.start(iotcast, lab.Options{})
			if err != nil {
				return nil, err
			}
			return b.fanOut(site, load{
				readers: some, payload: payload,
				warm:     publisher.Order{Rate: 20, For: b.phase(time.Second)},
				measured: publisher.Order{Rate: 20, For: b.phase(10 * time.Second)},
			})
		})
		for _, c := range cases {
			b.measure(key(c.name), repetition, func() (report.Values, error) { return b.selects(c.load) })
		}
		return nil
	})
	b.title("watch: clients that choose, of messages of devices at random")
	b.Report.Table(b.Out, "watch", []report.Column{
		{Title: "CPU s a million deliveries", Value: "cpu", Format: "%.2f", Spread: true},
		{Title: "CPU s a million messages, delivered to nobody", Value: "nobody", Format: "%.0f"},
		{Title: "CPU s a second of deliveries", Value: "load", Format: "%.3f", Spread: true},
		{Title: "deliveries a message", Value: "share", Format: "%.1f"},
		{Title: "RSS KiB a connection at rest", Value: "rss", Format: "%.1f", Scale: 1. / 1024},
		{Title: "p50 ms", Value: "p50", Format: "%.1f"},
		{Title: "p99 ms", Value: "p99", Format: "%.1f"},
	})
	one, ten, filters, all, paced := key(cases[0].name), key(cases[1].name), key(cases[2].name), key(cases[4].name), key(cases[5].name)
	b.judge("watch", "CPU of a delivery, one device, to a trickle of everything", one, plain, "cpu", 1.25)
	b.judge("watch", "CPU of a delivery, ten devices, to a trickle of everything", ten, plain, "cpu", 1.15)
	b.judge("watch", "CPU of a delivery, ten filters, to ten devices", filters, ten, "cpu", 1.3)
	bytes, ok := b.Report.Median(one, "rss")
	b.Report.Judged("watch", "RSS a connection that watches one device", 3.6, bytes/1024, " KiB", ok)
	b.judge("watch", "CPU a second with interval=1s, to all", paced, all, "load", 0.1)
	b.Report.PrintGoals(b.Out, "watch")
	return err
}

// selects measures what the deliveries of a load cost.
func (b *Bench) selects(l selective) (report.Values, error) {
	site, err := b.start(iotcast, lab.Options{Route: lab.Map{"watch": lab.Map{}}, Input: l.input})
	if err != nil {
		return nil, err
	}
	clients, _, each, err := b.atRest(site, swarm.Config{Readers: l.readers, Watch: l.watch, Query: l.query})
	if err != nil {
		return nil, err
	}
	values := report.Values{"rss": each}
	run := func(pattern string) (cpu float64, sent int, err error) {
		devices, err := b.Lab.StartPublisher(publisher.Config{
			Broker: site.Broker, Topic: pattern, Devices: l.devices, Size: payload,
		})
		if err != nil {
			return 0, 0, err
		}
		if _, err := devices.Obey(publisher.Order{Rate: l.rate, For: b.phase(2 * time.Second)}); err != nil {
			return 0, 0, err
		}
		before, err := site.CPU()
		if err != nil {
			return 0, 0, err
		}
		phase, err := devices.Obey(publisher.Order{Rate: l.rate, For: b.phase(8 * time.Second)})
		if err != nil {
			return 0, 0, err
		}
		after, err := site.CPU()
		return (after - before).Seconds(), phase.Sent, err
	}
	idle, sent, err := run("$devices/nobody-%d/events")
	if err != nil {
		return nil, err
	}
	values["nobody"] = idle / float64(sent) * 1e6
	if err := b.Lab.Sleep(b.phase(2 * time.Second)); err != nil {
		return nil, err
	}
	if n := clients.Board.Delivered.Load(); n > 0 {
		return nil, fmt.Errorf("%d messages were delivered that nobody had chosen", n)
	}
	clients.Board.Record.Store(1)
	delivered := clients.Board.Delivered.Load()
	cpu, sent, err := run(devicesTopic)
	if err != nil {
		return nil, err
	}
	all := sent * 10 / 8 // with those before the measurement
	rest := 2 * time.Second
	if b.Quick && l.query == "" { // no interval holds anything back
		rest /= 4
	}
	if err := b.Lab.Sleep(rest); err != nil {
		return nil, err
	}
	deliveries := float64(clients.Board.Delivered.Load() - delivered)
	values["share"] = deliveries / float64(all)
	cpu -= idle
	values["cpu"] = cpu / (values["share"] * float64(sent)) * 1e6
	values["load"] = cpu / b.phase(8*time.Second).Seconds()
	if dead := clients.Board.Dead.Load(); dead > 0 {
		return nil, fmt.Errorf("%d connections ended", dead)
	}
	found, err := clients.Finish()
	if err == nil && found.Latencies > 0 {
		values["p50"], values["p99"] = found.P50, found.P99
	}
	return values, err
}
