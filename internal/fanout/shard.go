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
	waits  atomic.Bool // for a pass
	count  counters
	passed uint64       // how many bytes of hub.broadcast were offered to every connection; guarded by hub.lag
	oldest atomic.Int64 // when the oldest message that waits for a pass was received, see now; 0: none does

	index int // among the hub's shards

	mu     sync.Mutex          // never held during a write
	groups map[*group]struct{} // those with connections; guarded by mu
	woken  []*group            // those of them that the next pass serves; guarded by mu

	serving []*Conn   // connections of the group that is being served; used by the loop alone
	taken   []*group  // what woken was when the pass began; used by the loop alone
	rested  time.Time // when the next pass may begin; used by the loop alone
}

func newShard(h *Hub, l *loop, index int) *shard {
	s := &shard{hub: h, loop: l, index: index, groups: make(map[*group]struct{})}
	l.add(s)
	return s
}

// add adds a connection to its group.
func (s *shard) add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := c.group
	c.slot = len(g.conns)
	if g.conns = append(g.conns, c); c.slot == 0 {
		s.groups[g] = struct{}{}
	}
}

// remove takes a connection out of its group, and reports whether that was the last.
func (s *shard) remove(c *Conn) (last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := c.group
	end := len(g.conns) - 1
	g.conns[c.slot] = g.conns[end]
	g.conns[c.slot].slot = c.slot
	g.conns[end] = nil // for the collector
	if g.conns = g.conns[:end]; end == 0 {
		delete(s.groups, g)
	}
	return end == 0
}

// wake has the next pass serve a group.
func (s *shard) wake(g *group) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !g.woken {
		g.woken = true
		s.woken = append(s.woken, g)
	}
}

// each calls f with every connection.
func (s *shard) each(f func(*Conn)) {
	var conns []*Conn
	s.mu.Lock()
	for g := range s.groups {
		conns = append(conns, g.conns...)
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

// pass offers every connection what was broadcast before the pass began, as far as it
// wants that. All connections of a selection stop at the same mark, so that what each
// gets by the next pass is as much as can be. Only the loop calls it.
func (s *shard) pass() {
	s.waits.Store(false) // what is broadcast from here on wants another pass
	h := s.hub
	oldest := s.oldest.Swap(0)
	passed := h.broadcast.Load()
	begun := time.Now()
	s.mu.Lock()
	s.taken, s.woken = s.woken, s.taken[:0]
	for _, g := range s.taken {
		g.woken = false
	}
	s.mu.Unlock()
	probed := h.probes.on.Load() // after taken: what is woken later comes with the next pass
	served := 0
	for i, g := range s.taken {
		served = s.serve(g, served, probed)
		s.taken[i] = nil // for the collector
	}
	ended := time.Now()
	s.rested = ended.Add(min(ended.Sub(begun), maxRest))
	h.lag.Lock()
	s.passed = passed
	h.room.Broadcast()
	h.lag.Unlock()
	if oldest != 0 && h.cfg().Served != nil {
		h.cfg().Served(time.Duration(now() - oldest))
	}
}

// serve is a pass over one group. It takes how many connections the pass has served
// already, and returns how many those are then. Only the loop calls it.
func (s *shard) serve(g *group, served int, probed bool) int {
	s.mu.Lock()
	s.serving = append(s.serving[:0], g.conns...)
	s.mu.Unlock()
	limits, at := g.selection.limits(s.hub), now()
	for _, c := range s.serving {
		c.serve(g, &limits, at)
		if probed {
			c.look()
		}
		if served++; served%yieldEvery == 0 {
			runtime.Gosched()
		}
	}
	clear(s.serving) // for the collector
	g.selection.served.Store(limits.of[asPlain].seq)
	return served
}

// check looks at the limits in time of each connection, and at its queue. It makes a
// pass first, so that nothing waits that can be written. Only the loop calls it.
func (s *shard) check(wall time.Time) {
	s.pass()
	var longest int64
	probed := s.hub.probes.on.Load()
	s.each(func(c *Conn) {
		longest = max(longest, c.check(wall))
		if probed {
			c.look()
		}
	})
	if probed {
		s.hub.probes.sweep(time.Now())
	}
	s.count.queued.Store(longest)
	s.hub.forget(wall)
}
