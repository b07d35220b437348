package fanout

// inbox is what a client has sent and the Peer has not taken yet. It is guarded
// by Conn.mu.
type inbox struct {
	messages   []received
	size       int64 // of messages
	paused     bool  // reading waits for room
	conclusion error // what came behind them, see Conn.conclude; nil: nothing that ends
	over       bool  // the client has sent its last byte
}

// received is a message of a client.
type received struct {
	op   Opcode
	data []byte
}

// size is what the message counts for: one without a payload must count, too.
func (m received) size() int64 { return int64(len(m.data)) + 64 }

func (i *inbox) add(m received) {
	i.messages = append(i.messages, m)
	i.size += m.size()
}

func (i *inbox) take() (m received, ok bool) {
	if i == nil || len(i.messages) == 0 {
		return received{}, false
	}
	m = i.messages[0]
	i.messages[0] = received{}
	i.messages = i.messages[1:]
	i.size -= m.size()
	return m, true
}

// full reports whether no more is to be read for now: a client that sends faster
// than its messages are handled has to wait. There is always room for one of the
// largest.
func (i *inbox) full(limits *Limits) bool {
	return i != nil && i.size > limits.MaxMessageBytes
}

// concluded reports whether the answer to the client's last word waits for the
// messages before it.
func (i *inbox) concluded() bool { return i != nil && i.conclusion != nil }

// work has the inbox handed over. The caller must hold c.mu.
func (c *Conn) work() {
	if !c.working {
		c.working = true
		go c.deliver()
	}
}

// deliver hands the peer what is in the inbox, and the end if it has come. It is
// the only one that calls the peer.
func (c *Conn) deliver() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if m, ok := c.inbox.take(); ok {
			c.mu.Unlock()
			c.peer.Message(m.op, m.data)
			c.mu.Lock()
			c.resume()
			continue
		}
		if c.inbox.concluded() {
			c.answer(c.inbox.conclusion)
			if c.inbox.over {
				c.hangUp()
			}
		}
		c.inbox = nil
		if !c.ended {
			c.working = false
			return
		}
		cause := c.cause
		c.mu.Unlock()
		if c.peer != nil {
			c.peer.Ended(cause)
		}
		c.hub.leave()
		c.mu.Lock()
		return // and working stays: the end comes once
	}
}

// resume goes on reading if the inbox has room again. The caller must hold c.mu.
func (c *Conn) resume() {
	if c.inbox.paused && !c.inbox.full(&c.hub.cfg().Limits) {
		c.inbox.paused = false
		c.heard = now() // what it sent meanwhile could not be heard
		c.listenAgain()
	}
}
