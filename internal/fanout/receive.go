package fanout

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/iotcast/iotcast/internal/socketerr"
)

// listen begins to wait for what the client sends. The engine's poller waits for it, or
// where that cannot, a goroutine. The caller must hold c.mu.
func (c *Conn) listen() {
	if c.ended || c.listening {
		return
	}
	c.listening = true
	c.wait()
}

// wait has the poller, or else a goroutine, wait for what the client sends. The caller
// must hold c.mu.
func (c *Conn) wait() {
	if c.descriptor() < 0 || !c.hub.engine.poll().watch(c, forReading) {
		go c.readAll()
	}
}

// listenAgain is listen after reading has stopped. TLS may then hold back records for
// which no more need come from the socket: they are read first. The caller must hold
// c.mu.
func (c *Conn) listenAgain() {
	if c.cork == nil {
		c.listen()
		return
	}
	if !c.ended && !c.listening {
		c.listening = true
		go c.readHeld()
	}
}

// readHeld reads what TLS holds back, then has the poller wait for more.
func (c *Conn) readHeld() {
	if !c.readable(make([]byte, 1024)) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.wait()
	}
}

// stopListening is for a connection that has ended, or whose inbox is full. The
// caller must hold c.mu.
func (c *Conn) stopListening() {
	c.poller.unwatch(c, forReading)
	c.listening = false
}

// readable reads a part of what there is; the poller calls it again for the rest. It
// returns false when no more is to be read, for now or for ever.
func (c *Conn) readable(buffer []byte) bool {
	if c.cork != nil {
		c.cork.allowRead()
	}
	for {
		n, err := c.readNow(buffer)
		if c.cork != nil && c.cork.waiting() > 0 {
			c.pushSealed()
		}
		if n < 0 {
			return true
		}
		if !c.received(buffer[:n], err) {
			return false
		}
		if c.cork == nil { // TLS may hold back what the poller does not know of: it is read until it is dry
			return true
		}
	}
}

// readNow reads without waiting; -1 is for nothing.
func (c *Conn) readNow(p []byte) (n int, err error) {
	if c.cork != nil {
		if n, err = c.nc.Read(p); errors.Is(err, errDry{}) {
			return -1, nil
		}
		return n, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fd < 0 {
		return 0, net.ErrClosed
	}
	if n, err = readNow(c.fd, p); n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// pushSealed sends what TLS itself has written while it was read, such as its answers
// to updates of keys (RFC 8446, section 4.6.3). A client that does not read must not
// heap them up.
func (c *Conn) pushSealed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
	case c.blocked:
		c.writing = c.cork.waiting()
		c.enforce(c.newest())
	default:
		c.push()
	}
}

// readAll reads, and waits for it, until the connection has ended or its inbox is
// full. It is for connections that the poller cannot watch.
func (c *Conn) readAll() {
	if c.cork != nil {
		c.cork.letReadWait()
	}
	buffer := make([]byte, 1024)
	for {
		if n, err := c.nc.Read(buffer); !c.received(buffer[:n], err) {
			return
		}
	}
}

// received takes what was read. It returns false when no more is to be read, for
// now or for ever.
func (c *Conn) received(p []byte, err error) bool {
	if len(p) > 0 {
		c.feed(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
	case err != nil && c.inbox.concluded():
		c.stopListening()
		c.inbox.over = true // deliver answers, and hangs up
	case c.wire == eventStream && (errors.Is(err, io.EOF) || socketerr.IsReset(err)): // how its clients leave
		c.stopListening()
		c.cause = c.causeOr(ClosedByPeer{noStatus})
		c.hangUp()
	case err != nil:
		c.stopListening()
		c.cause = c.causeOr(fmt.Errorf("%w: %w", ErrLost, err))
		c.hangUp()
	case c.inbox.full(&c.hub.cfg().Limits):
		c.inbox.paused = true
		c.stopListening()
	default:
		return true
	}
	return false
}

// readers are for the time in which something comes in. Most of it, such as the
// answer to a ping, is complete at once.
var readers = sync.Pool{New: func() any { return new(reader) }}

// feed reads the frames of p. Only the one who reads from the connection calls it.
func (c *Conn) feed(p []byte) {
	c.mu.Lock()
	c.heard = now()
	deaf := c.ended || c.deaf
	c.mu.Unlock()
	if deaf {
		return
	}
	r := c.reader
	if r == nil {
		r = readers.Get().(*reader)
		r.deflate, r.gather = c.deflate, c.peer != nil && c.hub.cfg().WantsMessages
	}
	err := r.feed(p, &c.hub.cfg().Limits, c)
	if err == nil && !r.idle() {
		c.reader = r
		return
	}
	c.reader = nil
	*r = reader{control: r.control[:0]}
	readers.Put(r)
	if err != nil {
		c.conclude(err)
	}
}

// conclude takes the last that counts of a client: its Close frame, as a ClosedByPeer,
// or a breach of the protocol. It is answered after the messages that came before.
// What comes later is read and given up, until the client closes or
// Config.CloseTimeout is over. It is read, because a socket that is closed with bytes
// unread resets the connection, and the client loses our Close frame (RFC 6455,
// section 7.1.1).
func (c *Conn) conclude(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf = true
	if c.working && !c.ended {
		c.inbox.conclusion = err
		return
	}
	c.answer(err)
}

// answer answers what conclude has taken. The caller must hold c.mu.
func (c *Conn) answer(err error) {
	if by, ok := errors.AsType[ClosedByPeer](err); ok {
		c.answerClose(by)
		return
	}
	code := uint16(ProtocolError)
	switch {
	case errors.Is(err, ErrUTF8):
		code = InvalidPayload
	case errors.Is(err, ErrTooBig):
		code = MessageTooBig
	}
	c.finish(code, err)
}

// answerClose sends the client's Close frame back, unless it is the answer to ours,
// and ends the connection: it is the server that closes the socket (RFC 6455,
// section 7.1.1). The caller must hold c.mu.
func (c *Conn) answerClose(by ClosedByPeer) {
	frame := closeFrame(by.Code, "")
	if by.Code == noStatus {
		frame = []byte{finBit | byte(opClose), 0}
	}
	c.past = nil
	c.close(mark{}, frame, by) // nothing that was not begun may follow (section 5.5.1)
	c.hangUp()
}

// onPing implements events. One pong answers all pings before it (RFC 6455,
// section 5.5.3), so that a client that does not read cannot heap them up.
func (c *Conn) onPing(payload []byte) {
	c.touch()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing == nil {
		c.pong = append(appendHeader(nil, finBit|byte(opPong), len(payload)), payload...)
		c.flush(mark{})
	}
}

// onMessage implements events.
func (c *Conn) onMessage(op Opcode, data []byte, size int64) {
	c.touch()
	if count := c.hub.cfg().Received; count != nil {
		count(int(size))
	}
	if data == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inbox == nil {
		c.inbox = new(inbox)
	}
	c.inbox.add(received{op, data})
	c.work()
}
