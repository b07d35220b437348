package fanout

import (
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how a hub treats its connections. Zero durations switch the
// respective rule off.
type Config struct {
	QueueBytes   int64         // what may wait for one connection, in bytes
	SlowConsumer Policy        // what happens when it is more
	MaxFrame     int           // larger messages go out in several frames; 0: never
	PingInterval time.Duration // a connection that answers no ping for as long is dead
	IdleTimeout  time.Duration // no frame either way but pongs and our pings
	MaxLifetime  time.Duration
	CloseTimeout time.Duration // for what is left to write, and for the peer's Close frame
	Compression  bool          // prepare for connections that take compressed messages
	Shards       int           // 0: one for every second core
}

// Hub broadcasts to the connections of one route. Its methods may be called
// concurrently.
type Hub struct {
	cfg      Config
	shards   []*shard
	conns    atomic.Int64
	turn     atomic.Uint64 // deals connections to shards
	messages atomic.Int64  // broadcast to anyone

	mu       sync.Mutex // serialises broadcasting and attaching
	plain    *queue
	deflated *queue // the same messages, compressed; nil without Config.Compression
	deflater deflater
	arrived  chan struct{} // closed when the first connection attaches
	goodbye  func(*Conn)   // set by Close, for those that attach still
	gone     chan struct{} // closed after Close, with the last connection

	broadcast atomic.Uint64 // bytes of payload that were queued for anyone
	lag       sync.Mutex    // guards passed of all shards, with room
	room      *sync.Cond
	stopped   bool
}

// NewHub starts a hub: one goroutine a shard, until Close.
func NewHub(cfg Config) *Hub {
	if cfg.Shards <= 0 {
		// The kernel's part of a loopback write, and the pipeline, want the rest:
		// two shards on two cores cost a quarter more a delivery than one.
		cfg.Shards = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if cfg.CloseTimeout <= 0 {
		cfg.CloseTimeout = 5 * time.Second
	}
	h := &Hub{cfg: cfg, plain: newQueue(), arrived: make(chan struct{}), gone: make(chan struct{})}
	if cfg.Compression {
		h.deflated = newQueue()
	}
	h.room = sync.NewCond(&h.lag)
	for range cfg.Shards {
		s := newShard(h)
		h.shards = append(h.shards, s)
		go s.run()
	}
	return h
}

// Len is the number of connections.
func (h *Hub) Len() int { return int(h.conns.Load()) }

// Broadcast queues payload as one message for every connection and returns
// their number. With none it does nothing. It never waits for a socket: only,
// when messages come faster than the shards can make a pass, for the shards.
func (h *Hub) Broadcast(op Opcode, payload []byte) int {
	h.waitForRoom(uint64(len(payload)))
	h.mu.Lock()
	n := h.plain.conns
	if n > 0 {
		h.plain.append(byte(op), payload, h.cfg.MaxFrame)
	}
	if h.deflated != nil && h.deflated.conns > 0 {
		n += h.deflated.conns
		first, small := h.deflater.deflate(byte(op), payload)
		h.deflated.append(first, small, h.cfg.MaxFrame)
	}
	h.mu.Unlock()
	if n == 0 {
		return 0
	}
	h.messages.Add(1)
	h.broadcast.Add(uint64(len(payload)))
	for _, s := range h.shards {
		s.wakeUp()
	}
	return n
}

// waitForRoom holds a broadcast back while the shards are behind by half of
// what a connection may have waiting, so that QueueBytes measures the
// connection's slowness and never ours.
func (h *Hub) waitForRoom(need uint64) {
	highWater := uint64(h.cfg.QueueBytes) / 2
	h.lag.Lock()
	defer h.lag.Unlock()
	for !h.stopped {
		if behind := h.behind(); behind == 0 || behind+need <= highWater {
			return
		}
		h.room.Wait()
	}
}

// behind is how many bytes the slowest shard has yet to offer to its
// connections. The caller holds h.lag.
func (h *Hub) behind() uint64 {
	all := h.broadcast.Load()
	slowest := all
	for _, s := range h.shards {
		slowest = min(slowest, s.passed)
	}
	return all - slowest
}

// WaitForConnection returns when there is at least one connection, or with the
// context's error.
func (h *Hub) WaitForConnection(ctx context.Context) error {
	for {
		h.mu.Lock()
		n, arrived := h.Len(), h.arrived
		h.mu.Unlock()
		if n > 0 {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Attach adds a connection, compressed if its peer takes compressed messages
// (RFC 7692, without context takeover) and Config.Compression is set. It gets
// every message broadcast from now on, and before the first of them prelude as
// it is: the answer to its handshake, so that a client that has seen the answer
// misses nothing. The caller must read from the connection until that fails, and
// then call [Conn.Detach].
func (h *Hub) Attach(nc net.Conn, prelude []byte, compressed bool) *Conn {
	c := newConn(h, h.shards[h.turn.Add(1)%uint64(len(h.shards))], nc)
	c.mu.Lock()
	defer c.mu.Unlock()
	h.mu.Lock()
	if c.queue = h.plain; compressed && h.deflated != nil {
		c.queue = h.deflated
	}
	c.queue.conns++
	c.cur = c.queue.newest()
	if h.conns.Add(1) == 1 {
		close(h.arrived)
		h.arrived = make(chan struct{})
	}
	goodbye := h.goodbye
	h.mu.Unlock()

	c.shard.add(c)
	c.private = prelude
	c.flush(mark{})
	if goodbye != nil {
		goodbye(c)
	}
	return c
}

func (h *Hub) detach(c *Conn) {
	c.shard.remove(c)
	h.mu.Lock()
	defer h.mu.Unlock()
	c.queue.conns--
	if h.conns.Add(-1) == 0 && h.goodbye != nil {
		h.closeGone()
	}
}

// closeGone may be called more than once: a connection can attach after the last
// has gone. The caller holds h.mu.
func (h *Hub) closeGone() {
	select {
	case <-h.gone:
	default:
		close(h.gone)
	}
}

// Close closes every connection with code and cause, each after all that was
// broadcast before, waits until they are gone or ctx ends, and stops the
// shards. Nothing may be broadcast any more.
func (h *Hub) Close(ctx context.Context, code uint16, cause error) {
	h.mu.Lock()
	h.goodbye = func(c *Conn) { c.finish(code, cause) }
	if h.Len() == 0 {
		h.closeGone()
	}
	h.mu.Unlock()
	for _, s := range h.shards {
		s.each(func(c *Conn) { c.CloseWith(code, cause) })
	}
	select {
	case <-h.gone:
	case <-ctx.Done():
		for _, s := range h.shards {
			s.each((*Conn).abort)
		}
		<-h.gone
	}
	h.lag.Lock()
	h.stopped = true
	h.room.Broadcast()
	h.lag.Unlock()
	for _, s := range h.shards {
		s.stop()
	}
}
