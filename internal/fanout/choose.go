package fanout

// choices are choices of a slow connection, the oldest first, and the answers to them.
type choices []chosen

type chosen struct {
	choice *Choice
	answer []byte
}

// size is how many bytes of answers wait.
func (all choices) size() (n int) {
	for _, c := range all {
		n += len(c.answer)
	}
	return n
}

// mostCopied is how much of what a connection has yet to get is copied when it chooses
// anew. More stays in the log that it shares with others, and the choice waits.
const mostCopied = 64 << 10

// Choose lets the connection have another choice from now on. First it gets, by its old
// choice, what was broadcast before, and what that choice held back. Then come the
// answer, the newest of what it wants now, if Config.Latest keeps it, and what is live.
// A slow connection has the old choice until it has got so far.
func (c *Conn) Choose(choice *Choice, answer []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.closing != nil {
		return c.causeOr(errEnded)
	}
	c.choices = append(c.choices, chosen{choice, answer})
	if !c.blocked {
		c.flush(c.newest())
	}
	_, resuming := c.past.(*replay)
	if c.blocked && !resuming && c.newest().pos-c.cur.pos() > mostCopied {
		c.enforce(c.newest())
		return nil
	}
	c.chooseLate()
	if c.blocked {
		c.enforce(c.newest())
	}
	return nil
}

// chooseLate makes the newest of the choices that wait the one that is in force. The
// caller must hold c.mu.
func (c *Conn) chooseLate() {
	if len(c.choices) == 0 || c.ended || c.closing != nil {
		return
	}
	choice := c.choices[len(c.choices)-1].choice
	h := c.hub
	h.mu.Lock()
	before, resuming := c.past.(*replay)
	if resuming && before.of != h.history { // what it has yet to get is only in a history that is not kept any more
		h.mu.Unlock()
		return
	}
	if c.untold > 0 && !resuming {
		c.tell(GapSlowConsumer, c.untold)
	}
	for p := c.cur.read(c.newest()); p != nil && !resuming; p = c.cur.read(c.newest()) {
		c.private = append(c.private, p...)
	}
	if !resuming { // nobody else would send it
		c.private = append(c.private, c.heldBack()...)
	}
	h.part(c)
	h.join(c, choice)
	for _, each := range c.choices {
		c.private = c.append(c.private, "", each.answer)
	}
	c.choices = nil
	switch {
	case resuming: // what it has yet to get of the history it gets by the new choice
		if choice != nil && before.at.end.plain.seq < h.inParts {
			c.tell(GapHistory, 0)
		}
		before.chooser, before.last = newChooser(c.group.selection.choice), h.history.newest
		if before.then != nil {
			before.then = h.snapshot(c)
		}
	case h.latest.enabled():
		c.past = h.snapshot(c)
	default:
		c.past = nil
	}
	h.mu.Unlock()
	c.flush(mark{})
	c.probe()
}

// heldBack is what an interval holds back of what the connection is to get. The caller
// must hold c.mu and h.mu.
func (c *Conn) heldBack() []byte {
	p := c.group.selection.pacer
	if p == nil {
		return nil
	}
	w := wrapper{wrap: &c.hub.cfg().Wrap}
	id := p.waiting(&w)
	if !w.begun {
		return nil
	}
	return c.append(nil, id, w.close())
}
