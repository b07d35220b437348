package fanout

import (
	"fmt"
	"time"
)

// Policy is what happens to a connection for which more than
// Limits.QueueBytes wait because its peer does not read.
type Policy uint8

const (
	// Disconnect closes the connection with code 1013, try again later. What is
	// not yet written is given up, so the peer sees no gap but an end.
	Disconnect Policy = iota
	// DropOldest gives up the oldest messages, as many as it takes, but never
	// the newest.
	DropOldest
	// OnlyLatest gives up what waits at once, and has the newest of each key that
	// concerns the connection wait instead. It needs Config.Latest.
	OnlyLatest
)

// The close codes that a hub uses by itself (RFC 6455, section 7.4.1, and the
// IANA registry that it opens).
const (
	GoingAway      = 1001
	ProtocolError  = 1002
	InvalidPayload = 1007
	MessageTooBig  = 1009
	TryAgainLater  = 1013
)

// enforce applies the policy to a connection that catchUp is serving. The
// caller must hold c.mu.
func (c *Conn) enforce(limit mark) {
	if c.closing != nil {
		return
	}
	cfg := c.hub.cfg()
	most := cfg.mostWaiting
	if cfg.SlowConsumer == OnlyLatest {
		c.skipToLatest(limit)
	}
	waiting := c.waiting(limit)
	if waiting <= most {
		return
	}
	// What is for this connection alone is never dropped: there only the end is left.
	if cfg.SlowConsumer == Disconnect || int64(len(c.private)+c.writing+c.choices.size()) > most {
		c.shard.count.slow.Add(1)
		c.private, c.past = nil, nil
		c.close(mark{}, c.lastFrame(TryAgainLater,
			fmt.Sprintf("slow consumer: more than %d bytes waiting", cfg.QueueBytes)), ErrSlowConsumer)
		return
	}
	from := c.cur.seq
	for waiting > most && c.cur.seq+1 < limit.seq {
		waiting -= int64(c.cur.skip(limit))
		c.dropped++
		c.untold++
		c.shard.count.dropped.Add(1)
	}
	if c.cur.seq > from && c.hub.probes.on.Load() {
		c.hub.probes.skipped(c, from)
	}
}

// skipToLatest drops what waits in the queue. In its place the connection gets the
// newest of each key that was updated since it had all. The caller must hold c.mu.
func (c *Conn) skipToLatest(limit mark) {
	if c.cur.seq >= limit.seq {
		return
	}
	resuming, ok := c.past.(*replay)
	if ok && c.waiting(limit) <= c.hub.cfg().mostWaiting {
		return // there is room for both
	}
	h := c.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := c.past.(*snapshot)
	if !ok {
		s = &snapshot{after: c.complete}
		if resuming != nil || c.group.selection.pacer != nil { // what was held back is older than complete
			s.after = 0
		}
		c.past = s
	}
	s.aim(h, c.group.selection)
	newest := c.queue.newest()
	from := c.cur.seq
	skipped := newest.seq - from
	c.cur = newest
	if h.probes.on.Load() {
		h.probes.skipped(c, from)
	}
	c.dropped += skipped
	c.untold += skipped
	c.shard.count.dropped.Add(int64(skipped))
}

// waiting is how many bytes wait for the connection. What it gets from the history does
// not count: that is the hub's choice, and not the client's slowness. The caller must
// hold c.mu.
func (c *Conn) waiting(limit mark) int64 {
	from := max(c.cur.pos(), c.resumed)
	return int64(len(c.unsent)+c.writing+len(c.private)+c.choices.size()) + int64(limit.pos-min(limit.pos, from))
}

// progressed reports whether the client has taken something of what the kernel holds
// since the last call. The caller must hold c.mu.
func (c *Conn) progressed() bool {
	before := c.unacked
	c.unacked = unacked(c.descriptor())
	return c.unacked < before
}

// check applies the limits in time, and returns how many bytes wait for the
// connection. Only the loop calls it, on its tick.
func (c *Conn) check(wall time.Time) (waiting int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cfg, at := c.hub.cfg(), now()
	older := func(since int64, d time.Duration) bool { return d > 0 && at-since >= int64(d) }
	if c.blocked && older(c.pinged, cfg.PingInterval) && c.progressed() {
		c.heard = at // the ping may wait behind what a slow client has yet to read
	}
	switch {
	case c.ended:
		return 0
	case c.closing != nil:
		if wall.After(c.closing.deadline) {
			c.end()
		}
		return 0
	case c.ends != nil && !wall.Before(c.ends.at):
		c.finish(c.ends.code, c.ends.cause)
	case older(c.since, cfg.MaxLifetime):
		c.finish(GoingAway, ErrLifetime)
	case older(c.active.Load(), cfg.IdleTimeout):
		c.finish(GoingAway, ErrIdle)
	case !c.blocked && older(c.wrote, c.heartbeat):
		c.wrote = at
		c.private = c.append(c.private, "", cfg.Heartbeat)
		c.flush(mark{})
	case !older(c.pinged, cfg.PingInterval), !c.listening: // who is not listened to cannot answer
	case c.wire == eventStream: // whose clients answer nothing: a socket that is dead fails
		c.pinged = at
		c.private = append(c.private, comment...)
		c.flush(mark{})
	case c.pingsSent && c.heard < c.pinged:
		c.finish(GoingAway, ErrNoPong)
	default:
		c.pinged, c.pingsSent = at, true
		c.private = append(c.private, pingFrame...)
		c.flush(mark{})
	}
	return c.waiting(c.newest())
}
