package fanout

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is one connection of a hub.
//
// Whoever holds mu and finds blocked false may write to the socket. A writer
// that the socket refuses sets blocked, and leaves the rest to awaitRoom.
//
// mu guards what can change, but for fields that say otherwise.
//
// The fields that every delivery needs come first: with thousands of connections
// each of them is out of the core's cache when its turn comes.
type Conn struct {
	mu       sync.Mutex
	fd       int // of the socket, -1 where it cannot be written to directly (TLS) or is closed
	blocked  bool
	ended    bool    // the socket is closed, nothing more can be done
	takes    variant // how frames are made for it; never changed
	cur      cursor
	queue    *queue
	hub      *Hub
	shard    *shard
	group    *group
	resumed  uint64       // what waits before this position of the queue does not make it a slow one
	unsent   []byte       // the rest of a write that was cut short: it goes before all else
	private  []byte       // whole frames for this connection alone, before the next message
	past     past         // what goes before the queue; nil: nothing
	pong     []byte       // the frame that answers the client's last ping, until it is written
	closing  *closing     // nil: it has not begun
	active   atomic.Int64 // when the last data frame went either way, or a ping came; like all times here, see now
	wrote    int64        // when the last message went out
	complete uint64       // it has all values of Hub.latest up to this number
	cork     *cork        // below TLS; nil: there is none
	untold   uint64       // how many of dropped the client has not been told of
	choices  choices      // they take effect once it has got what it is to get by the one before

	nc      net.Conn
	writing int    // bytes that catchUp is writing, or that TLS has sealed
	cause   error  // why it ended; the first reason wins
	dropped uint64 // messages that it did not get, by the policy for slow ones
	ends    *end   // when it must end, at the latest; nil: never
	slot    int    // in group; guarded by shard.mu

	peer      Peer
	wire      wire    // how what it gets stands on it
	deflate   bool    // the client may compress messages
	listening bool    // somebody waits for what the client sends
	deaf      bool    // what the client sends now is given up
	working   bool    // deliver runs
	pingsSent bool    // our pings have begun
	reader    *reader // of what the client has begun to send, nil between messages; used by whoever reads alone
	inbox     *inbox  // nil: empty
	poller    *poller // that watches it, or has; nil: none
	watched   watched // by that poller; guarded by its mu

	since     int64         // when it was attached
	openedAt  int64         // the same on the wall clock, for people: Unix nanoseconds
	heard     int64         // when the last byte came from the client
	pinged    int64         // when our last ping went out
	unacked   int           // bytes that the kernel held when it was last asked
	heartbeat time.Duration // 0: it wants none
}

// Peer is told what comes from a connection's client. Its methods are called one
// at a time, in the order of events, and may take their time: reading goes on
// meanwhile.
type Peer interface {
	// Message takes a message, if Config.WantsMessages. data is the peer's.
	Message(op Opcode, data []byte)
	// Ended comes last, with the reason: one of this package's errors, a
	// [ClosedByPeer], or what the connection was closed for.
	Ended(cause error)
}

// ClosedByPeer is the cause when the client closed the connection (RFC 6455,
// section 7.1.5); Code is its status code, 1005 if it gave none.
type ClosedByPeer struct{ Code uint16 }

// Error implements error.
func (c ClosedByPeer) Error() string { return fmt.Sprintf("closed by the peer with %d", c.Code) }

// closing is how far the closing handshake has come (RFC 6455, section 7).
type closing struct {
	frame    []byte    // the last, and what an interval has held back; nil: it is written, and nothing may follow
	stopAt   mark      // messages before it go out first
	hangUp   bool      // close the socket as soon as all is written
	deadline time.Time // for all of it, and the peer's answer
}

// end is the end of a connection that is known beforehand.
type end struct {
	at    time.Time // on the wall clock, as whoever sets it means
	code  uint16
	cause error
}

var (
	errEnded = errors.New("connection ended")
	// ErrSlowConsumer is the cause when what waited for a connection passed
	// Limits.QueueBytes and the policy is Disconnect.
	ErrSlowConsumer = errors.New("slow consumer")
	// ErrLost is the cause when the socket failed, or the client broke off.
	ErrLost = errors.New("connection lost")
	// ErrIdle, ErrLifetime and ErrNoPong are the causes that the durations of
	// Limits give.
	ErrIdle     = errors.New("idle timeout")
	ErrLifetime = errors.New("lifetime exceeded")
	ErrNoPong   = errors.New("ping not answered")
)

// now is the time by which durations are measured, in nanoseconds since the
// process started. The wall clock can be set meanwhile: nobody is idle for that.
func now() int64 { return int64(time.Since(start)) }

var start = time.Now()

func newConn(h *Hub, s *shard, nc net.Conn, client Client) *Conn {
	c := &Conn{
		nc: nc, fd: -1, hub: h, shard: s,
		peer: client.Peer, deflate: client.Compressed,
		since: now(), openedAt: time.Now().UnixNano(),
	}
	switch {
	case client.Events:
		c.takes, c.deaf = asEvent, true
	case client.Compressed:
		c.takes = asDeflated
	}
	c.wire = c.takes.wire()
	c.heartbeat, c.wrote = client.Heartbeat, c.since
	c.active.Store(c.since)
	c.heard, c.pinged = c.since, c.since
	if sc, ok := nc.(syscall.Conn); ok && canWriteDirectly {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { c.fd = int(fd) })
		}
	}
	c.cork = corkOf(nc)
	if fd := c.descriptor(); fd >= 0 {
		limitUnsent(fd, h.maxUnsent())
	}
	if h.cfg().PingInterval == 0 {
		keepAlive(nc)
	}
	return c
}

// keepAlive has the kernel find a dead peer where our pings do not. Else it would cost
// four system calls for nothing: a listener is to have it off.
func keepAlive(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if k, ok := nc.(*cork); ok {
		nc = k.Conn
	}
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true})
	}
}

// descriptor is the socket's, also below TLS; -1 where there is none any more. The
// caller must hold c.mu.
func (c *Conn) descriptor() int {
	if c.cork != nil {
		return c.cork.descriptor()
	}
	return c.fd
}

// Send queues a message for this connection alone. It goes out behind what is
// being written and before the messages that were not begun.
func (c *Conn) Send(op Opcode, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.closing != nil {
		return c.causeOr(errEnded)
	}
	c.private = c.wire.append(c.private, byte(op), "", payload, c.hub.cfg().MaxFrame)
	c.wrote = now()
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
	c.ends = &end{at: at, code: code, cause: cause}
}

// finish is CloseWith for a caller that holds c.mu. What an interval holds back goes
// out, too.
func (c *Conn) finish(code uint16, cause error) {
	if c.ended || c.closing != nil {
		return
	}
	c.hub.mu.Lock()
	stopAt, held := c.newest(), c.heldBack()
	c.hub.mu.Unlock()
	c.close(stopAt, append(held, c.lastFrame(code, cause.Error())...), cause)
}

// lastFrame is what ends all that the connection gets.
func (c *Conn) lastFrame(code uint16, reason string) []byte {
	if c.wire == eventStream { // which has no end but that of the connection
		return comment
	}
	return closeFrame(code, reason)
}

// newest is the end of what was broadcast so far.
func (c *Conn) newest() mark { return *c.queue.head.Load() }

// close begins the closing handshake. The caller must hold c.mu.
func (c *Conn) close(stopAt mark, frame []byte, cause error) {
	if c.ended || c.closing != nil {
		return
	}
	c.cause = cause
	c.closing = &closing{frame: frame, stopAt: stopAt, deadline: time.Now().Add(c.hub.cfg().CloseTimeout)}
	c.closing.hangUp = c.wire == eventStream
	_ = c.nc.SetWriteDeadline(c.closing.deadline) // for catchUp
	c.flush(stopAt)
}

// append appends a text message to dst.
func (c *Conn) append(dst []byte, id string, payload []byte) []byte {
	return c.wire.append(dst, byte(Text), id, payload, c.hub.cfg().MaxFrame)
}

// closed reports whether the Close frame is written, after which nothing may
// follow (RFC 6455, section 5.5.1). The caller must hold c.mu.
func (c *Conn) closed() bool { return c.closing != nil && c.closing.frame == nil }

// hangUp ends the connection once all is written that can be: the client has said
// its last word. The caller must hold c.mu.
func (c *Conn) hangUp() {
	if c.blocked && c.closing != nil {
		c.closing.hangUp = true // once the rest is written
		return
	}
	c.end()
}

// fail ends a connection whose socket is of no use any more. The caller must hold
// c.mu.
func (c *Conn) fail(err error) {
	c.cause = c.causeOr(fmt.Errorf("%w: %w", ErrLost, err))
	c.end()
}

// end closes the socket, takes the connection out of its hub, and tells the peer,
// after what the peer has yet to take. The caller must hold c.mu.
func (c *Conn) end() {
	if c.ended {
		return
	}
	c.ended = true
	c.cause = c.causeOr(ErrLost)
	c.unsent, c.private, c.pong, c.past, c.choices = nil, nil, nil, nil, nil
	c.listening = false
	c.poller.forget(c)
	direct := c.fd >= 0 || c.cork != nil
	c.fd = -1 // another file may get it at once
	if direct {
		_ = c.nc.Close()
	} else {
		// TLS says goodbye first (RFC 8446, section 6.1), and waits some seconds for a
		// peer that does not read: whoever needs c.mu must not wait as long.
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
		go func() { _ = c.nc.Close() }()
	}
	c.hub.detach(c)
	c.probe()
	c.work() // at last, Peer.Ended
}

// abort closes the socket, whatever is left to be written.
func (c *Conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end()
}

// causeOr is the first reason for the end, err if there is none yet. The caller
// must hold c.mu.
func (c *Conn) causeOr(err error) error {
	if c.cause != nil {
		return c.cause
	}
	return err
}

// Dropped is how many messages DropOldest has cost this connection.
func (c *Conn) Dropped() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped
}

// State is how a connection stands.
type State struct {
	Choice  *Choice // nil: everything; never written to
	Waiting int64   // bytes that wait for its client
	Dropped uint64  // messages that it did not get, by the policy for slow ones
	Events  bool    // it gets server-sent events
}

// State is how the connection stands now.
func (c *Conn) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Dropped: c.dropped, Events: c.wire == eventStream}
	if !c.ended {
		s.Choice, s.Waiting = c.group.selection.choice, c.waiting(c.newest())
	}
	return s
}

// Opened is when the connection was attached, on the wall clock of then.
func (c *Conn) Opened() time.Time { return time.Unix(0, c.openedAt) }

// OpenFor is how long ago that was.
func (c *Conn) OpenFor() time.Duration { return time.Duration(now() - c.since) }

// Active is when the last data frame went either way, or a ping came.
func (c *Conn) Active() time.Time {
	return time.Now().Add(-time.Duration(now() - c.active.Load()))
}

// touch marks the connection as active: its client has sent a frame that counts
// for Limits.IdleTimeout.
func (c *Conn) touch() { c.active.Store(now()) }
