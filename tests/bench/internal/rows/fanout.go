package rows

import (
	"errors"
	"fmt"
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
	"github.com/iotcast/iotcast/tests/bench/internal/swarm"
)

const (
	payload      = 64 // bytes, where a row does not say otherwise
	deviceID     = "dev-%d"
	devicesTopic = "$devices/" + deviceID + "/events"
	slowBits     = 64_000 // a second, of a slow connection's link
)

// load is what a server is put under.
type load struct {
	readers  int
	stalled  int
	slow     int // further connections, of 64 kbit/s each
	devices  int // 0: the messages are of one device, at the site's topic
	watch    swarm.Watch
	lossy    bool // the route may pass messages over
	deflate  bool
	payload  int
	warm     publisher.Order
	measured publisher.Order
}

// fanOut measures a server under a load: it connects the clients, waits until
// messages get through, warms up, and measures from the first message to the
// last delivery.
func (b *Bench) fanOut(site *lab.Site, l load) (report.Values, error) {
	clients, err := b.Lab.StartSwarm(swarm.Config{
		Address: site.Address, Path: site.Path, Protocol: site.Protocol, Topic: site.Topic,
		Readers: l.readers, Stalled: l.stalled, Deflate: l.deflate, Slow: l.slow, SlowBits: slowBits, Watch: l.watch,
	})
	if err != nil {
		return nil, err
	}
	if err := clients.WaitReady(); err != nil {
		return nil, err
	}
	topic := site.Publish
	if l.devices > 0 {
		topic = devicesTopic
	}
	devices, err := b.Lab.StartPublisher(publisher.Config{
		Broker: site.Broker, Topic: topic, Devices: l.devices, Size: l.payload, Board: clients.File, Readers: l.readers,
	})
	if err != nil {
		return nil, err
	}
	for _, order := range []publisher.Order{{Probe: true}, l.warm} {
		if _, err := devices.Obey(order); err != nil {
			return nil, err
		}
	}

	_ = site.ResetPeak()
	rss, writes, bytes := site.RSS(), site.Writes(), clients.Board.Bytes.Load()
	clients.Board.Record.Store(1)
	before, err := site.CPU()
	if err != nil {
		return nil, err
	}
	phase, err := devices.Obey(l.measured)
	if err != nil {
		return nil, err
	}
	after, err := site.CPU()
	if err != nil {
		return nil, err
	}
	if phase.Arrived != phase.Sent && !l.lossy {
		return nil, fmt.Errorf("of %d messages %d arrived", phase.Sent, phase.Arrived)
	}
	if dead := clients.Board.Dead.Load(); dead > 0 {
		return nil, fmt.Errorf("%d connections ended", dead)
	}
	deliveries := float64(phase.Arrived * l.readers)
	values := report.Values{
		"cpu":    (after - before).Seconds() / deliveries * 1e6,
		"rate":   deliveries / phase.Seconds,
		"writes": (site.Writes() - writes) / deliveries,
		"bytes":  float64(clients.Board.Bytes.Load()-bytes) / deliveries,
		"growth": max(0, site.PeakRSS()-rss),
	}
	if l.lossy {
		values["passed"] = 1 - float64(phase.Arrived)/float64(phase.Sent)
	}
	if values["writes"] == 0 { // the server uses send(2), which the kernel does not count
		delete(values, "writes")
	}
	found, err := clients.Finish()
	if err != nil {
		return nil, err
	}
	if found.Latencies > 0 {
		values["p50"], values["p99"] = found.P50, found.P99
	}
	if l.slow > 0 {
		if found.Late.Messages == 0 {
			return nil, errors.New("the slow connections got nothing")
		}
		values["late"], values["late_max"] = found.Late.P50, found.Late.Max
		values["got"] = float64(found.Late.Messages) / phase.Seconds / float64(l.slow)
	}
	return values, nil
}

// closedLoop is the load of a flood: window messages are under way at any time.
func (b *Bench) closedLoop(readers, window int) load {
	return load{
		readers:  readers,
		payload:  payload,
		warm:     publisher.Order{Window: window, For: b.phase(time.Second)},
		measured: publisher.Order{Window: window, For: b.phase(5 * time.Second)},
	}
}

var floodColumns = []report.Column{
	{Title: "CPU s a million", Value: "cpu", Format: "%.2f", Spread: true},
	{Title: "to raw-batch", Value: "cpu", Base: "raw-batch"},
	{Title: "to raw", Value: "cpu", Base: "raw"},
	{Title: "deliveries a second", Value: "rate", Format: "%.0fk", Scale: 1e-3},
	{Title: "writes a delivery", Value: "writes", Format: "%.3f"},
	{Title: "bytes a delivery", Value: "bytes", Format: "%.0f"},
	{Title: "p50 ms", Value: "p50", Format: "%.1f"},
	{Title: "p99 ms", Value: "p99", Format: "%.1f"},
}
