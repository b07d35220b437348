package devbroker

import "time"

// What a message costs a broker is mostly the write to its reader, and the waking of threads for it, here and there. So once
// writes to a client follow each other closely, there is a rest after each, and the next takes several messages along. A client
// that sends more than the acknowledgements of messages may be waiting for what it is written, and is never made to.
const (
	// rest bounds how many writes there are, and adds so much to the latency of what comes faster than that.
	rest = time.Millisecond
	// closely is how soon a write has to follow another for a rest to bring two messages in one.
	closely = time.Millisecond
	// busyAfter keeps handshakes, and handfuls of messages, from resting.
	busyAfter = 8
)

// pace is how writes to a client follow each other.
type pace struct {
	last   time.Time // when one was made
	busy   int       // how many in a row have followed closely
	rested bool      // since the last
}

// next counts a write that is about to be made, to a client that is asking or not.
func (p *pace) next(asking bool) {
	if asking || !p.rested && time.Since(p.last) >= closely {
		p.busy = 0
	} else {
		p.busy++
	}
}

// pause rests after a write, if those before were busy and the client may get more.
func (p *pace) pause(more bool) {
	if p.rested = more && p.busy >= busyAfter; p.rested {
		time.Sleep(rest)
	}
	p.last = time.Now()
}

// idle says that nothing has come during the rest.
func (p *pace) idle() {
	if p.rested {
		p.rested, p.busy = false, 0
	}
}

// mayGather reports whether more may come to what is queued. The caller must hold mu.
func (c *conn) mayGather() bool {
	return !c.closed && !c.leaving && (c.most == 0 || c.window > 0)
}
