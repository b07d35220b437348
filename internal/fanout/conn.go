package fanout

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is one connection of a hub. It is also the net.Conn that the WebSocket
// library works on: what the library writes are control frames, and they go
// out between the messages of the queue, never inside one.
//
// Whoever holds mu and finds blocked false may write to the socket. A writer
// that the socket refuses leaves the rest to catchUp and sets blocked.
//
// The fields that every delivery needs come first: with thousands of connections
// each of them is out of the core's cache when its turn comes.
type Conn struct {
	mu      sync.Mutex
	fd      int // of the socket, -1 where it cannot be written to directly (TLS) or is closed
	blocked bool
	cur     cursor
	queue   *queue
	hub     *Hub
	shard   *shard
	resumed uint64       // what is before this position of the queue is not held against it
	rest    []byte       // of a write that was cut short: goes before all else
	private []byte       // whole frames for this connection alone, before the next message
	active  atomic.Int64 // when the last data frame went either way, or a ping came
	closing closing

	nc      net.Conn
	raw     syscall.RawConn // nil where fd is -1 from the beginning
	cork    *cork           // below TLS; nil: there is none
	writing int             // bytes that catchUp is writing
	cause   error           // why it ended; the first reason wins
	dropped uint64          // messages, by DropOldest
	untold  uint64          // of these, what the client has not been told of
	ends    *end            // when it must, at the latest

	shutting bool // the socket is being closed
	resting  bool // the hub's watcher has it

	ahead    byte // read before its time; of the reader alone
	hasAhead bool

	key        uint64 // of the watcher; 0: it never rested
	onReadable func() // Client.Readable

	opened    int64        // Unix nanoseconds, like all times here
	heard     atomic.Int64 // last byte from the peer
	pinged    int64        // last ping of ours; of the shard alone
	pingsSent bool
}

// closing is how far the closing handshake has come (RFC 6455, section 7).
type closing struct {
	begun  bool
	sent   bool   // the Close frame is written, nothing may follow
	frame  []byte // still to be written
	stopAt mark   // messages before it go out first
	hangUp bool   // close the socket as soon as all is written
}

// end is the end of a connection that is known beforehand.
type end struct {
	at    int64
	code  uint16
	cause error
}

var (
	errEnded = errors.New("connection ended")
	// ErrSlowConsumer is the cause when what waited for a connection passed
	// Config.QueueBytes and the policy is Disconnect.
	ErrSlowConsumer = errors.New("slow consumer")
	// ErrLost is the cause when the socket failed.
	ErrLost = errors.New("connection lost")
	// ErrIdle, ErrLifetime and ErrNoPong are the causes that Config's durations
	// give.
	ErrIdle     = errors.New("idle timeout")
	ErrLifetime = errors.New("lifetime exceeded")
	ErrNoPong   = errors.New("ping not answered")
)

func newConn(h *Hub, s *shard, nc net.Conn) *Conn {
	c := &Conn{nc: nc, fd: -1, hub: h, shard: s, opened: time.Now().UnixNano()}
	c.active.Store(c.opened)
	c.heard.Store(c.opened)
	c.pinged = c.opened
	if sc, ok := nc.(syscall.Conn); ok && canWriteDirectly {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
			_ = raw.Control(func(fd uintptr) { c.fd = int(fd) })
		}
	}
	c.cork = corkOf(nc)
	if fd := c.descriptor(); fd >= 0 {
		limitUnsent(fd)
	}
	return c
}

// Send queues a message for this connection alone. It goes out behind what is
// being written and before the messages that were not begun.
func (c *Conn) Send(op Opcode, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.begun {
		return c.causeOr(errEnded)
	}
	c.private = appendMessage(c.private, byte(op), payload, c.hub.cfg.MaxFrame)
	c.flush(mark{})
	if c.blocked {
		c.enforce(c.newest())
	}
	return nil
}

// CloseWith writes what was broadcast so far, then a Close frame with code and
// the cause as its reason, and gives the peer Config.CloseTimeout for all of it
// and its answer.
func (c *Conn) CloseWith(code uint16, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish(code, cause)
}

// CloseAt closes the connection as CloseWith does when the time has come; a
// later call replaces an earlier one.
func (c *Conn) CloseAt(at time.Time, code uint16, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends = &end{at: at.UnixNano(), code: code, cause: cause}
}

// finish is CloseWith for a caller that holds c.mu.
func (c *Conn) finish(code uint16, cause error) {
	c.close(c.newest(), closeFrame(code, cause.Error()), cause)
}

// newest is the end of what was broadcast so far.
func (c *Conn) newest() mark { return *c.queue.head.Load() }

// close begins the closing handshake. The caller holds c.mu.
func (c *Conn) close(stopAt mark, frame []byte, cause error) {
	if c.closing.begun {
		return
	}
	c.cause = cause
	c.closing = closing{begun: true, frame: frame, stopAt: stopAt}
	_ = c.nc.SetDeadline(time.Now().Add(c.hub.cfg.CloseTimeout))
	c.flush(stopAt)
	c.rouse()
}

// fail ends a connection whose socket is of no use any more. The caller holds
// c.mu.
func (c *Conn) fail(err error) {
	c.cause = c.causeOr(fmt.Errorf("%w: %w", ErrLost, err))
	c.closing.begun, c.closing.sent = true, true
	c.rest, c.private, c.closing.frame = nil, nil, nil
	_ = c.shut() // wakes the reader, which detaches
}

// shut closes the socket. The caller holds c.mu: its descriptor, which another
// file may get at once, must not be written to any more.
func (c *Conn) shut() error {
	c.fd = -1
	c.rouse()
	if c.raw != nil || c.cork != nil {
		return c.nc.Close()
	}
	if !c.shutting {
		c.shutting = true
		// TLS says goodbye first (RFC 8446, section 6.1), and waits some seconds for a
		// peer that does not read: whoever needs c.mu must not wait as long.
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
		go func() { _ = c.nc.Close() }()
	}
	return nil
}

// abort closes the socket, whatever is left to be written.
func (c *Conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.shut()
}

func (c *Conn) causeOr(err error) error {
	if c.cause != nil {
		return c.cause
	}
	return err
}

// Detach takes the connection out of its hub and closes the socket. It returns
// why the connection ended, nil if nothing on this side ended it.
func (c *Conn) Detach() error {
	c.mu.Lock()
	cause := c.cause
	if c.closing.begun && !c.closing.sent && c.blocked {
		c.closing.hangUp = true // catchUp writes the rest and closes
	} else {
		c.fail(net.ErrClosed)
	}
	c.mu.Unlock()
	c.hub.detach(c)
	return cause
}

// Dropped is how many messages DropOldest has cost this connection.
func (c *Conn) Dropped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// Opened is when the connection was attached.
func (c *Conn) Opened() time.Time { return time.Unix(0, c.opened) }

// Active is when the last data frame went either way, or a ping came.
func (c *Conn) Active() time.Time { return time.Unix(0, c.active.Load()) }

// Touch marks the connection as active: its peer has sent a frame that counts
// for Config.IdleTimeout.
func (c *Conn) Touch() { c.active.Store(time.Now().UnixNano()) }

// Read reads from the socket. It is for the WebSocket library.
func (c *Conn) Read(p []byte) (int, error) {
	if c.hasAhead && len(p) > 0 {
		p[0], c.hasAhead = c.ahead, false
		return 1, nil
	}
	n, err := c.nc.Read(p)
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// Write takes one control frame, whole, from the WebSocket library, and puts
// it between two messages.
func (c *Conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing.begun {
		return len(p), nil // at most a second Close frame, or a pong that nobody needs
	}
	frame := append([]byte(nil), p...)
	if Opcode(p[0]&opcodeSet) == opClose {
		// An answer to the peer's Close, or the library refuses a frame: either
		// way nothing that was not begun may follow (RFC 6455, section 5.5.1).
		c.close(mark{}, frame, nil)
		return len(p), nil
	}
	c.private = append(c.private, frame...)
	c.flush(mark{})
	return len(p), nil
}

// Close is the WebSocket library's: it closes the socket, once the Close frame
// is written.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocked && c.closing.begun && !c.closing.sent {
		c.closing.hangUp = true
		return nil
	}
	return c.shut()
}

// LocalAddr is the socket's.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// SetDeadline is the socket's.
func (c *Conn) SetDeadline(t time.Time) error { return c.nc.SetDeadline(t) }

// SetReadDeadline is the socket's.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.nc.SetReadDeadline(t) }

// SetWriteDeadline is the socket's.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.nc.SetWriteDeadline(t) }
