package fanout

import (
	"sync"
	"time"
)

// A shard is the goroutine that serves a part of a hub's connections, and the
// only one that walks over them.
type shard struct {
	hub    *Hub
	wake   chan struct{} // capacity 1: one pending pass serves any number of broadcasts
	quit   chan struct{}
	done   chan struct{}
	count  counters
	passed uint64 // every connection was offered all before this; guarded by hub.lag

	mu    sync.Mutex // guards conns; held by run only between passes
	conns map[*Conn]struct{}

	order   []*Conn // of run alone: what conns held when last it changed
	changed bool    // guarded by mu: order is stale
}

func newShard(h *Hub) *shard {
	return &shard{
		hub:   h,
		wake:  make(chan struct{}, 1),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
		conns: make(map[*Conn]struct{}),
	}
}

func (s *shard) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *shard) stop() {
	close(s.quit)
	<-s.done
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

func (s *shard) run() {
	defer close(s.done)
	tick := time.NewTicker(s.hub.cfg.tick())
	defer tick.Stop()
	for {
		select {
		case <-s.wake:
			s.pass()
		case now := <-tick.C:
			s.pass()
			for _, c := range s.order {
				c.check(now)
			}
		case <-s.quit:
			return
		}
	}
}

// pass offers every connection what was broadcast before the pass began. That
// all stop at the same mark keeps each connection's share of the next pass as
// large as can be.
func (s *shard) pass() {
	s.refresh()
	limit := *s.hub.queue.head.Load()
	now := time.Now().UnixNano()
	for _, c := range s.order {
		c.serve(limit, now)
	}
	h := s.hub
	h.lag.Lock()
	s.passed = limit.pos
	h.room.Broadcast()
	h.lag.Unlock()
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
