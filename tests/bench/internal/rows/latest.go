package rows

import (
	"fmt"
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
	"github.com/iotcast/iotcast/tests/bench/internal/swarm"
)

// latest: pages that all connect at once, as after a restart of what is in front of
// them, and begin with the newest message of each of many devices. The floor is raw,
// which writes the same bytes to as many connections that are open already; the time
// of its handshakes is counted, too.
func latest(b *Bench) error {
	if len(b.pick([]string{iotcast})) == 0 {
		return nil
	}
	pages, devices := []int{100, 1000}, 10_000
	if b.Quick {
		pages, devices = []int{20, 50}, 200
	}
	key := func(n int, peer string) report.Key {
		return report.Key{Row: "latest", Case: connectionsCase(n), Peer: peer}
	}
	err := b.repeat(func(repetition int) error {
		for _, n := range pages {
			var bytes float64
			b.measure(key(n, iotcast), repetition, func() (values report.Values, err error) {
				if values, err = b.openPages(n, devices); err == nil {
					bytes = values["bytes"]
				}
				return values, err
			})
			if bytes > 0 && len(b.pick([]string{"raw"})) > 0 {
				b.measure(key(n, "raw"), repetition, func() (report.Values, error) { return b.writeRaw(n, bytes) })
			}
		}
		return nil
	})
	b.title("latest: pages that connect at once to a route with `latest: { by: device }` that knows %d devices", devices)
	b.Report.Table(b.Out, "latest", []report.Column{
		{Title: "seconds until the last is complete", Value: "seconds", Format: "%.2f", Spread: true},
		{Title: "to raw", Value: "seconds", Base: "raw"},
		{Title: "CPU s", Value: "cpu_total", Format: "%.2f", Spread: true},
		{Title: "MiB a page", Value: "bytes", Format: "%.1f", Scale: 1. / (1 << 20)},
		{Title: "greatest growth of RSS, MiB", Value: "growth", Format: "%.1f", Scale: 1. / (1 << 20), Spread: true},
	})
	for _, n := range pages {
		b.judge("latest", "time to raw, "+connectionsCase(n), key(n, iotcast), key(n, "raw"), "seconds", 3)
		growth, ok := b.Report.Median(key(n, iotcast), "growth")
		frames, _ := b.Report.Median(key(n, iotcast), "bytes")
		b.Report.Judged("latest", "growth of RSS to the bytes of one page, "+connectionsCase(n), 1.2, growth/max(1, frames), " ×", ok)
	}
	b.Report.PrintGoals(b.Out, "latest")
	return err
}

// openPages measures n clients that want the newest of all devices. The growth of RSS
// is its peak beyond that of as many clients that connect at once, too, and want nothing
// of them.
func (b *Bench) openPages(n, devices int) (report.Values, error) {
	site, err := b.Lab.StartIotcast(lab.Options{Route: lab.Map{"latest": lab.Map{"by": "device"}}, Metrics: true})
	if err != nil {
		return nil, err
	}
	if err := b.makeKnown(site, devices); err != nil {
		return nil, err
	}
	_ = site.ResetPeak()
	others, _, _, err := b.atRest(site, swarm.Config{Readers: n, Parallel: n, Query: "?latest=false"})
	if err != nil {
		return nil, err
	}
	if _, err := others.Finish(); err != nil {
		return nil, err
	}
	peak := site.PeakRSS()
	_ = site.ResetPeak()
	before, err := site.CPU()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	clients, err := b.Lab.StartSwarm(swarm.Config{
		Address: site.Address, Path: site.Path, Protocol: site.Protocol, Readers: n, Parallel: n,
	})
	if err != nil {
		return nil, err
	}
	all := uint64(n * devices)
	for last, moved := uint64(0), begun; last < all; {
		if err := b.Lab.Sleep(time.Millisecond); err != nil {
			return nil, err
		}
		if now := clients.Board.Delivered.Load(); now != last {
			last, moved = now, time.Now()
		}
		if dead := clients.Board.Dead.Load(); dead > 0 || time.Since(moved) > 20*time.Second {
			return nil, fmt.Errorf("of %d messages %d came, and %d connections ended", all, last, dead)
		}
	}
	took := time.Since(begun)
	after, err := site.CPU()
	if err != nil {
		return nil, err
	}
	if n := clients.Board.Delivered.Load(); n > all {
		return nil, fmt.Errorf("%d messages came where %d are known", n, all)
	}
	values := report.Values{
		"seconds":   took.Seconds(),
		"cpu_total": (after - before).Seconds(),
		"bytes":     float64(clients.Board.Bytes.Load()) / float64(n),
		"growth":    max(0, site.PeakRSS()-peak),
	}
	_, err = clients.Finish()
	return values, err
}

// makeKnown has each of a number of devices send, until the route knows them all.
func (b *Bench) makeKnown(site *lab.Site, devices int) error {
	publish, err := b.Lab.StartPublisher(publisher.Config{
		Broker: site.Broker, Topic: devicesTopic, Devices: devices, InTurn: true, Size: payload,
	})
	if err != nil {
		return err
	}
	known := 0.
	for begun := time.Now(); time.Since(begun) < 20*time.Second; { // the first are sent before anyone subscribes
		if _, err := publish.Obey(publisher.Order{Rate: 20_000, Count: devices}); err != nil {
			return err
		}
		if err := b.Lab.Sleep(1200 * time.Millisecond); err != nil { // the metrics follow once a second
			return err
		}
		if known, err = site.Metric("websocket_latest_messages", ""); err != nil {
			return err
		}
		if known == float64(devices) {
			return nil
		}
	}
	return fmt.Errorf("of %d devices the route knows %.0f", devices, known)
}

// writeRaw measures the floor: so many bytes to each of n connections, in messages
// of 64 KiB.
func (b *Bench) writeRaw(n int, bytes float64) (report.Values, error) {
	site, err := b.start("raw", lab.Options{})
	if err != nil {
		return nil, err
	}
	before, err := site.CPU()
	if err != nil {
		return nil, err
	}
	clients, err := b.Lab.StartSwarm(swarm.Config{
		Address: site.Address, Path: site.Path, Protocol: site.Protocol, Readers: n, Parallel: n,
	})
	if err != nil {
		return nil, err
	}
	if err := clients.WaitReady(); err != nil {
		return nil, err
	}
	const around = 300 // bytes of an envelope, but for the payload in base64
	count := int(bytes/(64<<10)) + 1
	size := max(payload, int(bytes/float64(count)-around)*3/4)
	devices, err := b.Lab.StartPublisher(publisher.Config{
		Broker: site.Broker, Topic: site.Publish, Size: size, Board: clients.File, Readers: n,
	})
	if err != nil {
		return nil, err
	}
	if _, err := devices.Obey(publisher.Order{Probe: true}); err != nil {
		return nil, err
	}
	from := clients.Board.Bytes.Load()
	phase, err := devices.Obey(publisher.Order{Count: count})
	if err != nil {
		return nil, err
	}
	after, err := site.CPU()
	if err != nil {
		return nil, err
	}
	if phase.Arrived != phase.Sent {
		return nil, fmt.Errorf("of %d messages %d arrived", phase.Sent, phase.Arrived)
	}
	values := report.Values{
		"seconds":   phase.Seconds + time.Duration(clients.Board.StormNano.Load()).Seconds(),
		"cpu_total": (after - before).Seconds(),
		"bytes":     float64(clients.Board.Bytes.Load()-from) / float64(n),
	}
	_, err = clients.Finish()
	return values, err
}
