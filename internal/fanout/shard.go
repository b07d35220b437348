package fanout

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A shard is the part of a hub's connections that one loop serves.
type shard struct {
	hub    *Hub
	loop   *loop
	woken  atomic.Bool // it waits for a pass
	count  counters
	passed uint64       // of hub.broadcast: offered to every connection; guarded by hub.lag
	oldest atomic.Int64 // when the oldest message that waits for a pass was received; 0: none does

	mu      sync.Mutex         // held by the loop only between passes
	conns   map[*Conn]struct{} // guarded by mu
	changed bool               // order is stale; guarded by mu

	order  []*Conn   // of the loop alone: what conns held when last it changed
	rested time.Time // of the loop alone: when the next pass may begin
}

func newShard(h *Hub, l *loop) *shard {
	s := &shard{hub: h, loop: l, conns: make(map[*Conn]struct{})}
	l.add(s)
	return s
}

func (s *shard) add(c *Conn) {
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.changed = true
	s.mu.Unlock()
}

func (s *shard) remove(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.changed = true
	s.mu.Unlock()
}

func (s *shard) each(f func(*Conn)) {
	s.mu.Lock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		f(c)
	}
}

// yieldEvery is after how many connections, some 200 µs, a pass lets other
// goroutines have the core: a message crosses a dozen of them on its way here.
const yieldEvery = 32

// rests reports whether the next pass has to wait: for as long as the last one
// took. A message that comes alone finds the shard rested and goes out at once; a
// stream of them gathers into fewer writes, and the other half of the time is the
// pipeline's.
//
// Measured with N = 1000, a closed loop of 32 messages in flight and two cores,
// in one run: CPU falls from 0.54 to 0.40 s a million deliveries (writes a
// delivery from 0.059 to 0.035) and the median latency does not rise, since
// messages reach the shard sooner.
func (s *shard) rests() bool { return time.Now().Before(s.rested) && s.backlog() <= maxGather }

// maxRest bounds what resting adds to a latency: with N = 5000, where a pass
// takes some 20 ms, a bound of 10 ms costs half as much CPU again, with no
// better a median. maxGather bounds what waits meanwhile: a write of more saves
// nothing, the socket takes it in pieces.
const (
	maxRest   = 30 * time.Millisecond
	maxGather = 64 << 10
)

// backlog is how many bytes this shard has not offered yet.
func (s *shard) backlog() uint64 {
	s.hub.lag.Lock()
	defer s.hub.lag.Unlock()
	return s.hub.broadcast.Load() - s.passed
}

// limits are where a pass ends, in each queue.
type limits struct{ plain, deflated mark }

func (h *Hub) limits() (l limits) {
	l.plain = *h.plain.head.Load()
	if h.deflated != nil {
		l.deflated = *h.deflated.head.Load()
	}
	return l
}

// pass offers every connection what was broadcast before the pass began. That
// all stop at the same mark keeps each connection's share of the next pass as
// large as can be. It is the loop's.
func (s *shard) pass() {
	s.woken.Store(false) // what is broadcast from here on wants another pass
	s.refresh()
	h := s.hub
	oldest := s.oldest.Swap(0)
	passed, limits := h.broadcast.Load(), h.limits()
	begun, at := time.Now(), now()
	for i, c := range s.order {
		c.serve(&limits, at)
		if i%yieldEvery == yieldEvery-1 {
			runtime.Gosched()
		}
	}
	ended := time.Now()
	s.rested = ended.Add(min(ended.Sub(begun), maxRest))
	h.lag.Lock()
	s.passed = passed
	h.room.Broadcast()
	h.lag.Unlock()
	if oldest != 0 && h.cfg.Served != nil {
		h.cfg.Served(time.Duration(now() - oldest))
	}
}

// check looks at the limits in time of each connection, and at its queue, after a
// pass: what can be written is not waiting. It is the loop's.
func (s *shard) check(wall time.Time) {
	s.pass()
	var longest int64
	for _, c := range s.order {
		longest = max(longest, c.check(wall))
	}
	s.count.queued.Store(longest)
	s.hub.forget(wall)
}

func (s *shard) refresh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.changed {
		return
	}
	s.changed = false
	clear(s.order) // for the collector: the ended must not be held
	s.order = s.order[:0]
	for c := range s.conns {
		s.order = append(s.order, c)
	}
}
