package fanout

import (
	"fmt"
	"time"
)

// Policy is what happens to a connection for which more than
// Config.QueueBytes wait because its peer does not read.
type Policy uint8

const (
	// Disconnect closes the connection with code 1013, try again later. What is
	// not yet written is given up, so the peer sees no gap but an end.
	Disconnect Policy = iota
	// DropOldest gives up the oldest messages, as many as it takes, but never
	// the newest.
	DropOldest
)

// The close codes that a hub uses by itself (RFC 6455, section 7.4.1, and the
// IANA registry that it opens).
const (
	GoingAway     = 1001
	TryAgainLater = 1013
)

// enforce applies the policy to a connection that catchUp is serving. The
// caller holds c.mu.
func (c *Conn) enforce(limit mark) {
	if c.closing.begun {
		return
	}
	waiting := c.waiting(limit)
	if waiting <= c.hub.cfg.QueueBytes {
		return
	}
	// Frames for this connection alone are never dropped: there only the end is
	// left.
	if c.hub.cfg.SlowConsumer == Disconnect || int64(len(c.private)) > c.hub.cfg.QueueBytes {
		c.shard.count.slow.Add(1)
		c.private = nil
		c.close(mark{}, closeFrame(TryAgainLater,
			fmt.Sprintf("slow consumer: more than %d bytes waiting", c.hub.cfg.QueueBytes)), ErrSlowConsumer)
		return
	}
	for waiting > c.hub.cfg.QueueBytes && c.cur.seq+1 < limit.seq {
		waiting -= int64(c.cur.skip(limit))
		c.dropped++
		c.untold++
		c.shard.count.dropped.Add(1)
	}
}

// waiting is how many bytes wait for the connection, but for what it got from
// the history: that is the hub's choice and not the client's slowness. The caller
// holds c.mu.
func (c *Conn) waiting(limit mark) int64 {
	from := max(c.cur.pos(), c.resumed)
	return int64(len(c.rest)+c.writing+len(c.private)) + int64(limit.pos-min(limit.pos, from))
}

// check applies the durations of Config, and returns how many bytes wait for the
// connection. It is the shard's, on its tick.
func (c *Conn) check(now time.Time) (waiting int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.begun {
		return 0
	}
	cfg, at := &c.hub.cfg, now.UnixNano()
	older := func(since int64, d time.Duration) bool { return d > 0 && at-since >= int64(d) }
	switch {
	case c.ends != nil && at >= c.ends.at:
		c.finish(c.ends.code, c.ends.cause)
	case older(c.opened, cfg.MaxLifetime):
		c.finish(GoingAway, ErrLifetime)
	case older(c.active.Load(), cfg.IdleTimeout):
		c.finish(GoingAway, ErrIdle)
	case !older(c.pinged, cfg.PingInterval):
	case c.pingsSent && c.heard.Load() < c.pinged:
		c.finish(GoingAway, ErrNoPong)
	default:
		c.pinged, c.pingsSent = at, true
		c.private = append(c.private, pingFrame...)
		c.flush(mark{})
	}
	return c.waiting(c.newest())
}

// tick is how often a shard checks: a quarter of the shortest duration, so
// that none is overrun by more, but at most once in ten milliseconds.
func (cfg *Config) tick() time.Duration {
	tick := 4 * time.Second
	for _, d := range []time.Duration{cfg.PingInterval, cfg.IdleTimeout, cfg.MaxLifetime} {
		if d > 0 {
			tick = min(tick, d)
		}
	}
	return max(tick/4, 10*time.Millisecond)
}
