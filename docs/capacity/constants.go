package main

// measured is from a virtual machine with 2 cores, everything on its loopback.
var measured = Measured{
	ConnectionKiB:   2.9,
	SocketKiB:       4.0,
	ProcessMiB:      50,
	DeliveryMicros:  6.7,
	HandshakeMicros: 70,
	ReadingMicros:   19.4,
	EnvelopeBytes:   3630,
	OverheadBytes:   78,
	PublishMicros:   132,
	PublishRate:     4600,
	ConsumeMicros:   42,
	ReadMicros:      34,
	ReadRate:        37000,
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
