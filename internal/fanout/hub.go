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
	Shards       int           // 0: one for every second core
}

// Hub broadcasts to the connections of one route. Its methods may be called
// concurrently.
type Hub struct {
	cfg    Config
	queue  queue
	shards []*shard
	conns  atomic.Int64
	turn   atomic.Uint64 // deals connections to shards

	lag     sync.Mutex // guards passed of all shards, with room
	room    *sync.Cond
	stopped bool

	arrived chan struct{} // closed when a connection attaches; guarded by queue.mu
	goodbye func(*Conn)   // set by Close, for those that attach still; guarded by queue.mu
	empty   sync.WaitGroup

	messages atomic.Int64 // broadcast to anyone
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
	h := &Hub{cfg: cfg, arrived: make(chan struct{})}
	h.room = sync.NewCond(&h.lag)
	h.queue.init()
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
	h.waitForRoom(int64(len(payload)))
	h.queue.mu.Lock()
	n := h.Len()
	if n > 0 {
		h.queue.append(op, payload, h.cfg.MaxFrame)
	}
	h.queue.mu.Unlock()
	if n == 0 {
		return 0
	}
	h.messages.Add(1)
	for _, s := range h.shards {
		s.wakeUp()
	}
	return n
}

// waitForRoom holds a broadcast back while the shards are behind by half of
// what a connection may have waiting, so that QueueBytes measures the
// connection's slowness and never ours.
func (h *Hub) waitForRoom(need int64) {
	highWater := h.cfg.QueueBytes / 2
	h.lag.Lock()
	defer h.lag.Unlock()
	for !h.stopped {
		lag := int64(h.queue.head.Load().pos - h.slowestPass())
		if lag <= 0 || lag+need <= highWater {
			return
		}
		h.room.Wait()
	}
}

// slowestPass is the position up to which every shard has made its pass. The
// caller holds h.lag.
func (h *Hub) slowestPass() uint64 {
	slowest := h.queue.head.Load().pos
	for _, s := range h.shards {
		slowest = min(slowest, s.passed)
	}
	return slowest
}

// WaitForConnection returns when there is at least one connection, or with the
// context's error.
func (h *Hub) WaitForConnection(ctx context.Context) error {
	for {
		h.queue.mu.Lock()
		n, arrived := h.Len(), h.arrived
		h.queue.mu.Unlock()
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

// Attach adds a connection. It gets every message broadcast from now on, and
// before the first of them prelude as it is: the answer to its handshake, so
// that a client that has seen the answer misses nothing. The caller must read
// from the connection until that fails, and then call [Conn.Detach].
func (h *Hub) Attach(nc net.Conn, prelude []byte) *Conn {
	c := newConn(h, h.shards[h.turn.Add(1)%uint64(len(h.shards))], nc)
	c.mu.Lock()
	defer c.mu.Unlock()
	h.queue.mu.Lock()
	c.cur = h.queue.newest()
	h.empty.Add(1)
	h.conns.Add(1)
	close(h.arrived)
	h.arrived = make(chan struct{})
	goodbye := h.goodbye
	h.queue.mu.Unlock()

	c.shard.add(c)
	c.private = prelude
	c.flush(mark{})
	if goodbye != nil {
		goodbye(c)
	}
	return c
}

// Close closes every connection with code and cause, each after all that was
// broadcast before, waits until they are gone or ctx ends, and stops the
// shards. Nothing may be broadcast any more.
func (h *Hub) Close(ctx context.Context, code uint16, cause error) {
	h.queue.mu.Lock()
	h.goodbye = func(c *Conn) { c.close(*h.queue.head.Load(), closeFrame(code, cause.Error()), cause) }
	h.queue.mu.Unlock()
	for _, s := range h.shards {
		s.each(func(c *Conn) { c.CloseWith(code, cause) })
	}
	gone := make(chan struct{})
	go func() { h.empty.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-ctx.Done():
		for _, s := range h.shards {
			s.each(func(c *Conn) { _ = c.nc.Close() })
		}
		<-gone
	}
	h.lag.Lock()
	h.stopped = true
	h.room.Broadcast()
	h.lag.Unlock()
	for _, s := range h.shards {
		s.stop()
	}
}
