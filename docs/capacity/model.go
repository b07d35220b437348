package main

import "math"

// Measured is what things cost, and where that was measured.
type Measured struct {
	ConnectionKiB   float64 // memory of an idle connection in the gateway: docs/performance.md, idle
	SocketKiB       float64 // its objects in the kernel: TCP, inode, file, dentry, epoll, in /proc/slabinfo
	ProcessMiB      float64 // a gateway without connections: docs/performance.md, idle
	DeliveryMicros  float64 // CPU of a write to one connection: docs/performance.md, trickle
	HandshakeMicros float64 // CPU of a handshake: docs/performance.md, storm
	ReadingMicros   float64 // CPU of a trigger for a reading: docs/performance.md, input, QoS 1
	EnvelopeBytes   float64 // of an envelope of ten readings with payloads of 64 bytes: docs/performance.md, batched
	OverheadBytes   float64 // Ethernet, IP, TCP and WebSocket headers of a packet
	PublishMicros   float64 // CPU of three NATS servers for an envelope: docs/cluster.md
	PublishRate     float64 // envelopes a second that a trigger stores: docs/cluster.md
	ConsumeMicros   float64 // and for each gateway that it goes to: docs/cluster.md
	ReadMicros      float64 // CPU of a gateway for an envelope, whatever its connections: docs/cluster.md
	ReadRate        float64 // envelopes a second that a gateway reads: docs/cluster.md
}

// Machine is one node of any tier, and how much of it may be used.
type Machine struct {
	Cores      float64
	MemoryGiB  float64
	NetworkBps float64 // bytes a second
	Use        float64 // of cores and network, in the steady state
	UseMemory  float64
	HistoryGiB float64 // of a gateway, and what waits for slow connections
}

// Load is what is asked for.
type Load struct {
	Connections int
	Routes      int     // paths; each connection is on one
	Groups      int     // of gateways; each serves a part of the routes
	Rate        float64 // envelopes a second on each route
}

// Plan is what it takes.
type Plan struct {
	PerGateway  int    // connections on one gateway, at most
	Limit       string // what bounds them
	Gateways    int    // of all groups, with spare ones
	Triggers    int
	MemoryGiB   float64 // of a gateway
	Bandwidth   float64 // bytes a second to all clients
	NATSServers int
	NATSCores   float64 // of all of them
	NATSEgress  float64 // bytes a second to all gateways
	ReadShare   float64 // of ReadRate, in the steady state
}

// minClusterSize is the number of NATS servers of which one may be lost.
const minClusterSize = 3

// perGateway is the number of connections that a gateway bears, and by what it is
// bounded.
func perGateway(l Load, m Machine, c Measured) (n int, limit string) {
	envelopes := l.Rate * float64(l.Routes) / float64(l.Groups) // that it reads in a second
	best := math.Inf(1)
	for _, bound := range []struct {
		name string
		n    float64
	}{
		{"memory", ((m.UseMemory*m.MemoryGiB-m.HistoryGiB)*(1<<20) - c.ProcessMiB*(1<<10)) / (c.ConnectionKiB + c.SocketKiB)},
		{"CPU", (m.Use*m.Cores*1e6 - envelopes*c.ReadMicros) / (l.Rate * c.DeliveryMicros)},
		{"network", m.Use * m.NetworkBps / (l.Rate * wireBytes(c))},
	} {
		if bound.n < best {
			best, limit = bound.n, bound.name
		}
	}
	return int(best), limit
}

// wireBytes is what a delivery is on the network.
func wireBytes(c Measured) float64 {
	const segment = 1448 // payload of a TCP packet
	return c.EnvelopeBytes + math.Ceil(c.EnvelopeBytes/segment)*c.OverheadBytes
}

// plan is the formula.
func plan(l Load, m Machine, c Measured) (p Plan) {
	p.PerGateway, p.Limit = perGateway(l, m, c)
	inGroup := ceil(float64(l.Connections) / float64(l.Groups) / float64(p.PerGateway))
	spare := max(1, ceil(float64(inGroup)/20)) // dead or drained
	p.Gateways = l.Groups * (inGroup + spare)
	each := float64(l.Connections) / float64(l.Groups) / float64(inGroup)
	p.MemoryGiB = c.ProcessMiB/(1<<10) + m.HistoryGiB + each*(c.ConnectionKiB+c.SocketKiB)/(1<<20)
	p.Bandwidth = float64(l.Connections) * l.Rate * wireBytes(c)

	envelopes := l.Rate * float64(l.Routes)
	const readings = 10 // in an envelope
	// A trigger reads on one core.
	p.Triggers = max(2, ceil(envelopes*readings*c.ReadingMicros/(m.Use*1e6)), ceil(envelopes/(m.Use*c.PublishRate)))
	toGateways := envelopes / float64(l.Groups) * float64(p.Gateways)
	p.NATSCores = (envelopes*c.PublishMicros + toGateways*c.ConsumeMicros) / 1e6
	p.NATSEgress = toGateways * c.EnvelopeBytes
	p.NATSServers = max(minClusterSize, ceil(p.NATSCores/(m.Use*m.Cores)), ceil(p.NATSEgress/(m.Use*m.NetworkBps)))
	p.ReadShare = envelopes / float64(l.Groups) / c.ReadRate
	return p
}

func ceil(f float64) int { return int(math.Ceil(f)) }
