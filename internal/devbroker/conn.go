package devbroker

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

const (
	// maxFleetingBytes is how much payload of QoS 0 may wait for a client that reads slowly. That of higher QoS is its session's, and
	// what is retained is kept anyway.
	maxFleetingBytes = 32 << 20

	// connectTimeout is how long a connection may stay silent before its CONNECT.
	connectTimeout = 10 * time.Second

	// farewell is how long a client may take to read the last that it is sent.
	farewell = time.Second

	// queueBytes is how much may wait for a client that reads slowly, before mochi is asked to wait.
	queueBytes = 64 << 10
)

// conn is one client's connection. Writing to it never blocks, so that one subscriber that does not read stops no publisher:
// new messages wait in a list (deliver.go), and for room for what mochi writes the hook waits, before mochi takes the client's
// lock. How often flush writes is in pace.go, and with which system calls in socket_linux.go.
type conn struct {
	net.Conn
	socket *socket // of the same; nil: it is not plain TCP

	mu       sync.Mutex
	changed  sync.Cond // of what follows
	queue    []byte
	writing  bool       // flush is writing what was queued before
	waiting  []*waiting // messages that come after the queue
	fleeting int        // how many bytes of payload wait in messages of QoS 0 that are not retained
	flowing  bool       // new messages may be written: what the session held is out
	leaving  bool       // it has been told goodbye: no message comes after that
	broken   bool       // writing failed; there may still be something to read
	closed   bool
	over     bool   // mochi has let go of the connection
	last     func() // to be done then; nil: nothing
	most     int    // MQTT 5: the Receive Maximum; 0: none
	window   int    // how many deliveries the client may still be sent

	// What the hook keeps about the client.
	connect   *packets.ConnectParams // as they came
	bridge    bool                   // it says that it is one of Mosquitto's
	will      *packets.Packet        // nil: none; by its name outside
	willDue   atomic.Bool            // it is to be published, maybe after its delay
	principal registry.Principal     // who it is, if there are registries; set before the session is established
	proof     registry.Proof         // by what that is known
	activity  *Activity              // of the device, from its announcement on; what is in it is the monitor's
	in        inbound                // of the goroutine that reads
	owing     bool                   // of the same goroutine: there are acknowledgements in the queue that nobody has been told of
	lastRead  byte                   // of the same goroutine
	checker   checker                // of what is read, by the same goroutine
	refusal   *refusal               // why a limit refuses it; nil: none does
	giveBack  func()                 // gives back its place among the connections; nil: it has none
	wrong     *packets.Code          // with the packet that comes now; of the same goroutine
	why       error                  // it ended, if it is not mochi that has ended it; of the same goroutine
	refusals  atomic.Int32           // what it was not allowed to do
	dismissed atomic.Bool            // the broker has ended it, since it is not to be there any more
	asking    atomic.Bool            // it has sent what may be answered since something was written to it
	subscribe []packets.Subscription // of the goroutine that reads: those whose retained messages are to follow the SUBACK
	sync      func() error           // returns when all changes so far are on disk; nil if nothing is kept there
	unsynced  atomic.Bool            // what is written next may acknowledge a message that is not on disk yet
	unlock    func()                 // releases hook.takeover; nil unless this connection takes over a session
	held      []packets.Packet       // of the session, for which the client has no room yet
	ended     chan struct{}          // closed when mochi has let go of the connection
	crashed   func(error)            // does what mochi does at the end of a connection, if it panics; nil before the session is established
}

func newConn(nc net.Conn) *conn {
	c := &conn{Conn: nc, socket: newSocket(nc), ended: make(chan struct{})}
	c.changed.L = &c.mu
	_ = c.SetReadDeadline(time.Now().Add(connectTimeout)) // until mochi sets the keepalive's
	return c
}

// connOf returns the connection of a client of this broker.
func connOf(cl *mqtt.Client) *conn { return cl.Net.Conn.(*conn) }

// certificate is the client's, of which TLS has proven that it has the key. There may be none.
func (c *conn) certificate() *x509.Certificate {
	var state tls.ConnectionState
	switch nc := c.Conn.(type) {
	case *tls.Conn:
		state = nc.ConnectionState()
	case *webSocketConn:
		state = nc.tls
	}
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	return state.PeerCertificates[0]
}

// Read gives mochi what a client sends, up to a packet that is wrong. What comes before it is answered before the client is told.
func (c *conn) Read(p []byte) (n int, err error) {
	c.pay()
	if c.wrong == nil {
		if c.socket != nil {
			n, err = c.socket.read(p)
		} else {
			n, err = c.Conn.Read(p)
		}
		n, c.wrong = c.checker.check(p[:n])
	}
	if n == 0 && c.wrong != nil {
		return 0, c.reject(*c.wrong)
	}
	if n > 0 {
		c.lastRead = p[n-1]
	}
	return n, err
}

// Write queues p for flush.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone() {
		return 0, net.ErrClosed
	}
	c.queue = append(c.queue, p...)
	c.changed.Broadcast()
	return len(p), nil
}

// resume lets new messages follow what the session held.
func (c *conn) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flowing = true
	c.changed.Broadcast()
}

// leave lets no message follow what is queued [MQTT-3.14.4-1].
func (c *conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving, c.waiting = true, nil
}

// waitForRoom returns when the queue is short enough for another packet, or when it does not matter any more.
func (c *conn) waitForRoom() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) >= queueBytes && !c.gone() {
		c.changed.Wait()
	}
}

// bound makes deliveries wait for acknowledgements, so that there are never more than most without one.
func (c *conn) bound(most uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most, c.window = int(most), int(most)
}

// narrow waits until the client has room for a delivery, and counts it.
func (c *conn) narrow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.most > 0 && c.window <= 0 && !c.gone() {
		c.changed.Wait()
	}
	c.window--
}

// narrowAtOnce counts a delivery of an earlier connection.
func (c *conn) narrowAtOnce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.window--
}

// room is how many deliveries the client may still be sent, if that is bounded.
func (c *conn) room() (n int, bounded bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.window, 0), c.most > 0
}

// widen counts the end of a delivery. It may be one of an earlier connection.
func (c *conn) widen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most > 0 {
		c.window = min(c.window+1, c.most)
		c.changed.Broadcast()
	}
}

// writable reports whether what is written now has a chance to be sent.
func (c *conn) writable() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.gone()
}

// gone reports whether nothing can be sent any more. The caller must hold mu.
func (c *conn) gone() bool { return c.closed || c.broken }

// flush writes what is queued, until the connection is closed and the queue empty.
func (c *conn) flush() {
	defer c.Conn.Close()
	var out []byte
	var p pace
	for {
		c.mu.Lock()
		for c.fill(); len(c.queue) == 0 && !c.closed; c.fill() {
			p.idle()
			c.changed.Wait()
		}
		p.next(c.asking.Swap(false))
		out, c.queue, c.writing = c.queue, out[:0], true
		c.changed.Broadcast()
		c.mu.Unlock()

		if len(out) == 0 {
			return
		}
		err := c.writeOut(out)
		c.mu.Lock()
		c.writing = false
		if err != nil {
			// The client has gone, maybe politely: its last acknowledgements and its DISCONNECT, without which its will
			// is published, may wait to be read. So reading goes on, and finds the end by itself.
			c.broken, c.queue, c.waiting = true, nil, nil
			c.changed.Broadcast()
		}
		more := c.mayGather() && len(c.queue) < queueBytes/2
		c.mu.Unlock()
		p.pause(more)
		if cap(out) > 2*queueBytes { // a large packet went through: do not keep its room for ever
			out = nil
		}
	}
}

// writeOut writes what was queued, when what it acknowledges is on disk. It is here that this is waited for, so that a client
// may publish on meanwhile, and one round to the disk serves for many messages.
func (c *conn) writeOut(out []byte) error {
	if c.unsynced.Swap(false) {
		if err := c.sync(); err != nil {
			_ = c.Conn.Close() // without the acknowledgement: the client sends its messages again
			return err
		}
	}
	if c.socket != nil {
		out = out[c.socket.writeNow(out):]
	}
	if len(out) == 0 {
		return nil
	}
	_, err := c.Conn.Write(out)
	return err
}

// Close ends reading at once, and writing when the queue is out: the last packet often says why the connection ends.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.closed, c.waiting = true, nil
		_ = c.SetReadDeadline(time.Now())
		_ = c.SetWriteDeadline(time.Now().Add(farewell))
		c.changed.Broadcast()
	}
	return nil
}

// SetDeadline is what mochi calls for the keepalive, which is about what the client sends. A client that reads slowly is
// none of its business, and what Close has set stays. mochi v2.7.9 counts in 16 bits: beyond twelve hours, it comes to nearly
// nothing, and of a second, to a second.
func (c *conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if !t.IsZero() {
		t = time.Now().Add(time.Duration(c.connect.Keepalive) * time.Second * 3 / 2) // [MQTT-3.1.2-24]
	}
	return c.SetReadDeadline(t)
}

// release lets the publishers go on, if they waited for this connection to take over its session.
func (c *conn) release() {
	if c.unlock != nil {
		c.unlock()
	}
}

// end marks that mochi has let go of the connection, however far it had come.
func (c *conn) end() {
	c.release()
	c.resume()
	if c.giveBack != nil {
		c.giveBack()
	}
	c.mu.Lock()
	c.over = true
	last := c.last
	c.mu.Unlock()
	if last != nil {
		last()
	}
	close(c.ended)
}

// atEnd has f done when mochi has let go of the connection and before another takes over its session, or now if it is late.
func (c *conn) atEnd(f func()) {
	c.mu.Lock()
	over := c.over
	c.last = f
	c.mu.Unlock()
	if over {
		f()
	}
}
