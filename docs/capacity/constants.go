package main

// measured is from a virtual machine with 2 cores, everything on its loopback. What
// docs/cluster.md has was measured while the machine did other work, too, so it errs
// on the side of too many nodes.
var measured = Measured{
	ConnectionKiB:   3.3,
	SocketKiB:       4.0,
	ProcessMiB:      50,
	DeliveryMicros:  6.7,
	HandshakeMicros: 70,
	ReadingMicros:   19.4,
	EnvelopeBytes:   3630,
	OverheadBytes:   78,
	PublishMicros:   1410,
	PublishRate:     160,
	ConsumeMicros:   630,
	ReadMicros:      900,
	ReadRate:        600,
}

// machine is what is rented everywhere.
var machine = Machine{
	Cores:      8,
	MemoryGiB:  32,
	NetworkBps: 10e9 / 8,
	Use:        0.6,
	UseMemory:  0.7,
	HistoryGiB: 1,
}

var loads = []Load{
	{Connections: 10_000, Routes: 1, Groups: 1, Rate: 1},
	{Connections: 1_000_000, Routes: 10, Groups: 1, Rate: 1},
	{Connections: 100_000_000, Routes: 1000, Groups: 20, Rate: 1},
}
