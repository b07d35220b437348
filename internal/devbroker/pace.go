package devbroker

import "time"

// What a message costs a broker is mostly the write to its reader, and that wakes the reader. So once writes to a client follow
// each other closely, each is put off by a rest, and takes several messages along. A client that publishes may be waiting for
// what it is written, and is never made to.
const (
	// rest is how long a sleep is asked to take: where all threads are idle it takes the poller's millisecond.
	rest = 300 * time.Microsecond
	// closely is how soon a write has to follow another for a rest to bring two messages in one.
	closely = time.Millisecond
	// busyAfter keeps handshakes, and handfuls of messages, from resting.
	busyAfter = 8
)

// pace is how writes to a client follow each other.
type pace struct {
	last time.Time
	busy int // writes in a row that have followed closely
}

// close reports whether the next write would follow too closely, for a client that is asking or not.
func (p *pace) close(asking bool) bool {
	if asking || time.Since(p.last) >= closely {
		p.busy = 0
	} else {
		p.busy++
	}
	return p.busy >= busyAfter
}

// mayGather reports whether more may come to what is queued. The caller must hold mu.
func (c *conn) mayGather() bool {
	return !c.closed && !c.leaving && len(c.queue) < queueBytes/2 && (c.most == 0 || c.window > 0)
}
