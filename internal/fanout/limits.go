package fanout

import (
	"math"
	"time"
)

// Limits bound what one connection may cost. A zero duration means no limit, and
// so does zero for what a client may send.
type Limits struct {
	QueueBytes      int64         // payload that may wait for it
	SlowConsumer    Policy        // what happens when it is more
	MaxMessageBytes int64         // of a message from the client; larger: closed with 1009
	MaxFrameBytes   int64         // of a frame from the client; larger: closed with 1009
	PingInterval    time.Duration // one that answers no ping for as long is dead
	IdleTimeout     time.Duration // without a frame either way but pongs and our pings
	MaxLifetime     time.Duration
}

// maxOnTheWire is how large the payload of a client's message may be before it is
// decompressed.
func (l *Limits) maxOnTheWire(compressed bool) int64 {
	switch {
	case l.MaxMessageBytes == 0:
		return math.MaxInt64 / 2 // so that something can be added to it
	case compressed:
		return deflatedSize(l.MaxMessageBytes)
	}
	return l.MaxMessageBytes
}

// tick is how often the limits in time are looked at: a quarter of the shortest,
// so that none is overrun by more, but at most once in ten milliseconds.
func (cfg *Config) tick() time.Duration {
	tick := 4 * time.Second
	for _, d := range []time.Duration{cfg.PingInterval, cfg.IdleTimeout, cfg.MaxLifetime, cfg.CloseTimeout} {
		if d > 0 {
			tick = min(tick, d)
		}
	}
	return max(tick/4, 10*time.Millisecond)
}
