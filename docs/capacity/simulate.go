package main

import "math/rand/v2"

// Outage is what the death of a gateway does to the others of its group.
type Outage struct {
	Moved   int     // connections that come back elsewhere
	Seconds float64 // until the last is back
	Peak    float64 // of the cores of the busiest gateway meanwhile, from 0 to 1
}

// Clients notice at once, since their sockets are reset, and try again after a time
// of their own, so that they do not come all at once.
const retryWithin = 5.0 // seconds

// Steps of the simulation.
const stepsPerSecond = 20

// giveUp ends the simulation of gateways that have nothing left for handshakes.
const giveUp = 600.0 // seconds

// gateway is one of a group.
type gateway struct {
	connections int
	waiting     int // handshakes
}

// simulate lets the first gateway of a full group die, and its connections come back
// through a load balancer that gives each to the gateway with the least. A gateway
// sends what there is to send first, and spends on handshakes what is left of its
// cores.
func simulate(l Load, p Plan, m Machine, c Measured) (o Outage) {
	group := make([]gateway, p.Gateways/l.Groups)
	for i := range l.Connections / l.Groups {
		group[i%len(group)].connections++
	}
	o.Moved = group[0].connections
	group = group[1:]

	coming := make([]int, retryWithin*stepsPerSecond) // in each step
	random := rand.New(rand.NewPCG(1, 2))             // the page must not change by itself
	for range o.Moved {
		coming[random.IntN(len(coming))]++
	}
	const step = 1.0 / stepsPerSecond
	envelopes := l.Rate * float64(l.Routes) / float64(l.Groups)
	for now, open := 0, 0; open < o.Moved && o.Seconds < giveUp; now++ {
		if now < len(coming) {
			for range coming[now] {
				least(group).waiting++
			}
		}
		for i := range group {
			g := &group[i]
			budget := m.Cores * 1e6 * step
			used := min(budget, (envelopes*c.ReadMicros+float64(g.connections)*l.Rate*c.DeliveryMicros)*step)
			done := min(g.waiting, int((budget-used)/c.HandshakeMicros))
			g.waiting -= done
			g.connections += done
			open += done
			o.Peak = max(o.Peak, (used+float64(done)*c.HandshakeMicros)/budget)
		}
		o.Seconds = float64(now+1) * step
	}
	return o
}

func least(group []gateway) *gateway {
	best := &group[0]
	for i := range group {
		if g := &group[i]; g.connections+g.waiting < best.connections+best.waiting {
			best = g
		}
	}
	return best
}
