package fanout

// Rest leaves the connection to its hub's watcher, which calls Client.Readable
// once there is something to read, or the end has begun. It returns false where
// the caller must wait for that itself, with WaitReadable; after it has returned
// true the caller must not read any more.
func (c *Conn) Rest() bool {
	if c.cork != nil && !c.dry() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Its closing has a deadline, which is the reader's.
	if c.closing.begun || c.onReadable == nil || c.hub.watcher == nil || c.descriptor() < 0 {
		return false
	}
	c.resting = c.hub.watcher.add(c)
	return c.resting
}

// descriptor is the socket's, also below TLS; -1 where there is none any more. The
// caller holds c.mu.
func (c *Conn) descriptor() int {
	if c.cork != nil {
		return c.cork.descriptor()
	}
	return c.fd
}

// rouse ends the rest, if the connection rests. The caller holds c.mu.
func (c *Conn) rouse() {
	if c.resting {
		c.resting = false
		c.hub.watcher.remove(c)
		go c.onReadable()
	}
}

// called is the watcher's, when something has come. The answer to a ping of ours
// does not end the rest.
func (c *Conn) called() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resting && (c.cork != nil || c.readable(uintptr(c.fd)) || !c.hub.watcher.add(c)) {
		c.rouse()
	}
}
