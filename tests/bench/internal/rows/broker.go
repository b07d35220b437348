package rows

import (
	"fmt"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/iotcast/iotcast/tests/bench/internal/fleet"
	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
)

const (
	fleetDevices = 5000 // each publishes a message a second
	fleetLogins  = 100  // whose passwords are checked as in production
	fleetFor     = 12 * time.Second
	fleetWarmUp  = 3 * time.Second
)

// broker: what the embedded broker costs with registries, against Mosquitto with a
// password file and an ACL file.
func broker(b *Bench) error {
	peers := b.pick([]string{iotcast, "mosquitto"})
	if len(peers) == 0 {
		return nil
	}
	logins := func(peer string) report.Key { return report.Key{Row: "broker", Case: "logins", Peer: peer} }
	steady := func(qos int, peer string) report.Key {
		return report.Key{Row: "broker", Case: fmt.Sprintf("QoS %d", qos), Peer: peer}
	}
	err := b.repeat(func(repetition int) error {
		for _, peer := range peers {
			b.measure(logins(peer), repetition, func() (report.Values, error) { return b.logIn(peer) })
		}
		for _, qos := range []int{0, 1} {
			for _, peer := range peers {
				b.measure(steady(qos, peer), repetition, func() (report.Values, error) { return b.relay(peer, qos) })
			}
		}
		return nil
	})
	b.title("broker: %d devices with passwords and aliases, a message of %d bytes a second each, and one who reads all", fleetDevices, payload)
	b.Report.Table(b.Out, "broker", []report.Column{
		{Title: "CPU s a million messages", Value: "cpu", Format: "%.1f", Spread: true},
		{Title: "to mosquitto", Value: "cpu", Base: "mosquitto"},
		{Title: "RSS KiB a connection", Value: "rss", Format: "%.1f", Scale: 1. / 1024, Spread: true},
		{Title: "CPU ms a first login", Value: "first", Format: "%.2f", Spread: true},
		{Title: "a further login", Value: "again", Format: "%.2f", Spread: true},
	})
	for _, qos := range []int{0, 1} {
		b.judge("broker", fmt.Sprintf("CPU to mosquitto, QoS %d", qos), steady(qos, iotcast), steady(qos, "mosquitto"), "cpu", 1)
	}
	b.Report.PrintGoals(b.Out, "broker")
	return err
}

// logIn measures logins with hashes as the tools of the peers make them.
func (b *Bench) logIn(peer string) (report.Values, error) {
	devices := fleetLogins
	if b.Quick {
		devices /= 10
	}
	server, err := b.Lab.StartBroker(peer, lab.FleetOptions{Devices: devices, Cost: bcrypt.DefaultCost, Aliases: 1})
	if err != nil {
		return nil, err
	}
	clients, err := b.Lab.StartFleet(server, devices, 0, payload)
	if err != nil {
		return nil, err
	}
	values := report.Values{}
	for _, value := range []string{"first", "again"} {
		cost, err := costOf(server.Process, func() error {
			_, err := clients.Obey(fleet.Order{Connect: true})
			return err
		})
		if err != nil {
			return nil, err
		}
		values[value] = cost.Seconds() * 1000 / float64(devices)
		if _, err := clients.Obey(fleet.Order{Disconnect: true}); err != nil {
			return nil, err
		}
		if err := b.Lab.Sleep(b.phase(2 * time.Second)); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// relay measures messages when all are connected. How the passwords are hashed is
// of no account then, so they are hashed as quickly as can be.
func (b *Bench) relay(peer string, qos int) (report.Values, error) {
	devices := b.connections(fleetDevices)
	server, err := b.Lab.StartBroker(peer, lab.FleetOptions{Devices: devices, Cost: bcrypt.MinCost, Aliases: 1})
	if err != nil {
		return nil, err
	}
	clients, err := b.Lab.StartFleet(server, devices, byte(qos), payload)
	if err != nil {
		return nil, err
	}
	before := server.RSS()
	if _, err := clients.Obey(fleet.Order{Connect: true}); err != nil {
		return nil, err
	}
	publish := func(d time.Duration) (int, error) {
		r, err := clients.Obey(fleet.Order{Rate: float64(devices), For: d})
		switch {
		case err != nil:
			return 0, err
		case r.Arrived != r.Sent || qos > 0 && r.Acked != r.Sent:
			return 0, fmt.Errorf("of %d messages %d have arrived, and %d were acknowledged", r.Sent, r.Arrived, r.Acked)
		}
		return r.Sent, nil
	}
	if _, err := publish(b.phase(fleetWarmUp)); err != nil {
		return nil, err
	}
	sent := 0
	cost, err := costOf(server.Process, func() (err error) {
		sent, err = publish(b.phase(fleetFor))
		return err
	})
	if err != nil {
		return nil, err
	}
	return report.Values{
		"cpu": cost.Seconds() / float64(sent) * 1e6,
		"rss": (server.RSS() - before) / float64(devices),
	}, nil
}

// costOf is the CPU time that a process spends while something is done.
func costOf(p *lab.Process, do func() error) (time.Duration, error) {
	before, err := p.CPU()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := p.CPU()
	return after - before, err
}
