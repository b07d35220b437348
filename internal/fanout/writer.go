package fanout

// serve gives the connection all messages before the limit of its queue, unless it
// has left the group. Only the loop calls it.
func (c *Conn) serve(g *group, limits *limits, now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.group != g { // it has chosen anew
		return
	}
	limit := limits.of[c.takes]
	if c.blocked {
		c.enforce(limit)
		return
	}
	if c.cur.seq < limit.seq && c.closing == nil {
		c.active.Store(now)
		c.wrote = now
	}
	if c.flush(limit); !c.blocked {
		c.complete = limits.latest
	}
}

// flush writes until nothing is left before limit or the socket takes no more. The
// caller must hold c.mu.
func (c *Conn) flush(limit mark) {
	for !c.blocked {
		p, shared := c.next(limit)
		if p == nil {
			c.maybeHangUp()
			return
		}
		n := 0
		if c.fd >= 0 {
			var err error
			if n, err = writeNow(c.fd, p); err != nil {
				c.fail(err)
				return
			}
			c.shard.count.writes.Add(1)
		}
		if c.cork != nil {
			if keep := c.hub.step(); shared && len(p) > keep {
				p = c.unread(p, keep)
			}
			left, err := c.seal(p)
			if err != nil {
				c.fail(err)
				return
			}
			if n = len(p); left > 0 {
				c.writing = left
				c.awaitRoom()
			}
		}
		if n < len(p) {
			if shared {
				p = c.unread(p, n)
			}
			c.unsent = p[n:]
			c.awaitRoom()
		}
	}
}

// awaitRoom is for a socket that is full. The poller tells the loop when it has room
// again; where there is no poller, catchUp waits for that. The caller must hold c.mu.
func (c *Conn) awaitRoom() {
	c.blocked = true
	if c.descriptor() < 0 || !c.hub.engine.poll().watch(c, forRoom) {
		go c.catchUp()
	}
}

// goOn goes on writing to a socket that was full. Only the loop calls it.
func (c *Conn) goOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.blocked || c.ended {
		return
	}
	if c.cork != nil && !c.push() {
		return
	}
	c.took()
	complete := c.hub.counted.Load()
	c.blocked = false
	if c.flush(c.newest()); !c.blocked {
		c.complete = complete
		c.chooseLate()
	}
	c.probe()
}

// seal encrypts p and writes of it what the socket takes. It returns how many
// bytes are left. The caller must hold c.mu.
func (c *Conn) seal(p []byte) (left int, err error) {
	if _, err := c.nc.Write(p); err != nil {
		return 0, err
	}
	c.shard.count.writes.Add(1)
	return c.cork.push()
}

// push writes what is sealed, and reports whether the socket took all. The caller must
// hold c.mu.
func (c *Conn) push() bool {
	left, err := c.cork.push()
	if err != nil {
		c.fail(err)
		return false
	}
	if c.writing = left; left > 0 {
		c.awaitRoom()
	}
	return left == 0
}

// write waits until p is written, and all that was sealed before.
func (c *Conn) write(p []byte) error {
	if c.cork != nil {
		if err := c.cork.drain(); err != nil {
			return err
		}
	}
	if len(p) > 0 {
		c.shard.count.writes.Add(1)
		if _, err := c.nc.Write(p); err != nil {
			return err
		}
	}
	if c.cork != nil {
		return c.cork.drain()
	}
	return nil
}

// step is how many bytes catchUp takes and TLS seals at a time, a message more or less.
// It is small, because DropOldest cannot drop what they hold, and a Close frame has to
// wait for it.
func (h *Hub) step() int {
	if h.cfg().SlowConsumer == OnlyLatest {
		return freshBytes
	}
	return int(min(64<<10, h.cfg().QueueBytes/4))
}

// freshBytes is how much is given to the socket of a slow client at a time, and how
// much the kernel takes beyond what is on its way, where the client is to get nothing
// old.
const freshBytes = 4 << 10

// catchUp is the writer of a connection whose socket is full and that the poller cannot
// watch. It blocks on the socket, without c.mu, until the connection has all that there
// is, and ends.
func (c *Conn) catchUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for sealed := c.cork != nil; ; sealed = false {
		complete := c.hub.counted.Load()
		p, shared := c.next(c.newest())
		if p == nil && !sealed {
			c.blocked = false
			c.complete = complete
			c.maybeHangUp()
			c.chooseLate()
			c.probe()
			return
		}
		if keep := c.hub.step(); shared && len(p) > keep {
			p = c.unread(p, keep)
		}
		c.writing += len(p)
		c.probe()
		c.mu.Unlock()
		err := c.write(p)
		c.mu.Lock()
		c.writing = 0
		if err != nil {
			c.blocked = false
			c.fail(err)
			return
		}
		c.took()
	}
}

// took notes a sign of life: the client has taken something of what its socket was full
// of. The caller must hold c.mu.
func (c *Conn) took() {
	c.heard = now()
	if c.closing == nil {
		c.touch()
	}
}

// next takes what must be written next, in this order: the rest of a cut write, frames
// for this connection alone, what is before its queue, messages before limit (shared),
// and at last the Close frame. All but a rest begin at the boundary of a frame. The
// caller must hold c.mu.
func (c *Conn) next(limit mark) (p []byte, shared bool) {
	if p := c.unsent; len(p) > 0 {
		c.unsent = nil
		return p, false
	}
	if c.ended || c.closed() {
		return nil, false
	}
	if p := c.private; p != nil {
		c.private = nil
		return p, false
	}
	if p := c.pong; p != nil {
		c.pong = nil
		return p, false
	}
	if c.closing != nil {
		limit = c.closing.stopAt
	}
	if c.untold > 0 && (c.past != nil || c.cur.seq < limit.seq) { // just before what it comes before
		if p := c.gapMessage(GapSlowConsumer, c.untold); p != nil {
			return p, false
		}
	}
	if c.past != nil {
		if p := c.past.read(c); p != nil {
			return p, false
		}
		c.past = nil
	}
	seq := c.cur.seq
	if p := c.cur.read(limit); p != nil {
		c.shard.count.deliveries.Add(int64(c.cur.seq - seq))
		c.shard.count.bytes.Add(int64(len(p)))
		return p, true
	}
	if c.closing != nil {
		p, c.closing.frame = c.closing.frame, nil
	}
	return p, false
}

// unread puts back all messages of p but those that begin in its first keep
// bytes, which it returns. The caller must hold c.mu.
func (c *Conn) unread(p []byte, keep int) []byte {
	seq := c.cur.seq
	kept := c.cur.unread(p, keep)
	c.shard.count.deliveries.Add(int64(c.cur.seq) - int64(seq))
	c.shard.count.bytes.Add(int64(len(kept) - len(p)))
	return kept
}

// maybeHangUp ends the connection where hangUp came before the last byte was
// written. The caller must hold c.mu.
func (c *Conn) maybeHangUp() {
	if c.closing != nil && c.closing.hangUp {
		c.end()
	}
}
