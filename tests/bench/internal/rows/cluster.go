package rows

import (
	"fmt"
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
	"github.com/iotcast/iotcast/tests/bench/internal/swarm"
)

// cluster: config/cluster with one gateway and with two, and a single process, which all
// make an envelope of each message, at QoS 1. What an envelope costs each tier is
// measured with one client a gateway, so that deliveries are the least of it.
func cluster(b *Bench) error {
	if len(b.pick([]string{iotcast})) == 0 {
		return nil
	}
	key := func(name string) report.Key { return report.Key{Row: "cluster", Case: name, Peer: iotcast} }
	const n = 100
	sizes := []int{1, 2}
	if b.Quick {
		sizes = sizes[1:] // NATS takes its time to begin
	}
	err := b.repeat(func(repetition int) error {
		b.measure(key("single process"), repetition, func() (report.Values, error) {
			site, err := b.start(iotcast, lab.Options{Input: lab.Map{
				"qos": 1, "client_id": "bench", "clean_session": false, "batching": lab.Map{"count": 1},
			}})
			if err != nil {
				return nil, err
			}
			return b.throughCluster(&lab.Cluster{Site: *site}, n)
		})
		for _, gateways := range sizes {
			b.measure(key(fmt.Sprintf("gateways: %d", gateways)), repetition, func() (report.Values, error) {
				c, err := b.Lab.StartCluster(gateways)
				if err != nil {
					return nil, err
				}
				return b.throughCluster(c, n)
			})
		}
		return nil
	})
	b.title("cluster: three NATS servers, one trigger, gateways, an envelope for each message")
	b.Report.Table(b.Out, "cluster", []report.Column{
		{Title: "envelopes a second, to one client a gateway", Value: "few", Format: "%.0f", Spread: true},
		{Title: fmt.Sprintf("to %d clients", n), Value: "rate", Format: "%.0f", Spread: true},
		{Title: "CPU µs an envelope: the trigger", Value: "trigger", Format: "%.0f", Spread: true},
		{Title: "all of NATS", Value: "nats", Format: "%.0f", Spread: true},
		{Title: "each gateway", Value: "gateway", Format: "%.0f", Spread: true},
		{Title: fmt.Sprintf("at %d a second, p50 ms", trickleRate), Value: "p50", Format: "%.1f", Spread: true},
		{Title: "p99 ms", Value: "p99", Format: "%.1f", Spread: true},
	})
	return err
}

// throughCluster sends messages as fast as they are taken to one client a gateway, then to
// n, and then a few a second.
func (b *Bench) throughCluster(c *lab.Cluster, n int) (report.Values, error) {
	const (
		messages = 5000
		unacked  = 1000 // by the broker
	)
	count := messages
	if b.Quick {
		count /= 20
	}
	var tiers []lab.Tier
	if len(c.Gateways) > 0 {
		tiers = []lab.Tier{c.Trigger, c.NATS, c.Gateways}
	}
	used := func() (all []float64, err error) {
		for _, t := range tiers {
			seconds, err := t.CPU()
			if err != nil {
				return nil, err
			}
			all = append(all, seconds)
		}
		return all, nil
	}
	values := report.Values{}
	for _, readers := range []int{max(1, len(c.Gateways)), n} {
		clients, err := b.Lab.StartSwarm(swarm.Config{Address: c.Address, Path: c.Path, Protocol: c.Protocol, Readers: readers})
		if err != nil {
			return nil, err
		}
		if err := clients.WaitReady(); err != nil {
			return nil, err
		}
		devices, err := b.Lab.StartPublisher(publisher.Config{
			Broker: c.Broker, Topic: c.Publish, QoS: 1, Size: payload, Board: clients.File, Readers: readers,
		})
		if err != nil {
			return nil, err
		}
		flood := publisher.Order{Count: count, Unacked: unacked}
		for _, order := range []publisher.Order{{Probe: true}, {Count: count / 5, Unacked: unacked}} {
			if _, err := devices.Obey(order); err != nil {
				return nil, err
			}
		}
		before, err := used()
		if err != nil {
			return nil, err
		}
		phase, err := devices.Obey(flood)
		if err != nil {
			return nil, err
		}
		after, err := used()
		if err != nil {
			return nil, err
		}
		if phase.Arrived < phase.Sent { // more: what was late of the warm-up
			return nil, fmt.Errorf("of %d messages %d arrived", phase.Sent, phase.Arrived)
		}
		rate := float64(phase.Arrived) / phase.Seconds
		if readers < n {
			values["few"] = rate
			for i, name := range []string{"trigger", "nats", "gateway"}[:len(tiers)] {
				values[name] = (after[i] - before[i]) / float64(count) * 1e6
			}
			if len(c.Gateways) > 0 {
				values["gateway"] /= float64(len(c.Gateways))
			}
		} else {
			values["rate"] = rate
			clients.Board.Record.Store(1)
			if _, err := devices.Obey(publisher.Order{Rate: trickleRate, For: b.phase(10 * time.Second)}); err != nil {
				return nil, err
			}
		}
		found, err := clients.Finish()
		if err != nil {
			return nil, err
		}
		if found.Latencies > 0 {
			values["p50"], values["p99"] = found.P50, found.P99
		}
	}
	return values, nil
}
