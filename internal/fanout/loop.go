package fanout

import (
	"slices"
	"sync"
	"time"
)

// A loop is a goroutine that serves a shard of every hub. It makes a pass over a shard
// when something was broadcast to it, and goes on with sockets that have room again. On
// its tick it looks at the limits in time of all connections.
type loop struct {
	wake chan struct{} // capacity 1: one pending turn serves any number of broadcasts
	quit chan struct{}
	done chan struct{}

	mu     sync.Mutex
	shards []*shard      // guarded by mu
	tick   time.Duration // the shortest of their hubs; guarded by mu
	woken  []*shard      // they wait for a pass; guarded by mu
	roomy  []*Conn       // their sockets were full, and are not any more; guarded by mu

	resting []*shard // were woken, and wait until they have rested; used by run alone
	going   []*Conn  // what roomy was; used by run alone
}

func newLoop() *loop {
	return &loop{wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), tick: time.Second}
}

func (l *loop) stop() {
	close(l.quit)
	<-l.done
}

func (l *loop) add(s *shard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shards = append(l.shards, s)
	l.setTick()
}

func (l *loop) remove(s *shard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A new slice: run may be walking over the old one.
	l.shards = slices.DeleteFunc(slices.Clone(l.shards), func(o *shard) bool { return o == s })
	l.setTick()
}

// retick is for when the limits of a hub have changed.
func (l *loop) retick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setTick()
}

// setTick is for when shards or their limits have changed. The caller must hold l.mu.
func (l *loop) setTick() {
	l.tick = time.Second
	for _, s := range l.shards {
		l.tick = min(l.tick, s.hub.cfg().tick())
	}
	l.signal()
}

// wakeUp has a pass made over a shard.
func (l *loop) wakeUp(s *shard) {
	if s.waits.Swap(true) {
		return
	}
	l.mu.Lock()
	l.woken = append(l.woken, s)
	l.mu.Unlock()
	l.signal()
}

// goOn has the loop write to a connection whose socket has room again.
func (l *loop) goOn(c *Conn) {
	l.mu.Lock()
	l.roomy = append(l.roomy, c)
	l.mu.Unlock()
	l.signal()
}

func (l *loop) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *loop) run() {
	defer close(l.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now() // tick
	for {
		select {
		case <-l.wake:
		case <-timer.C:
		case <-l.quit:
			return
		}
		next = l.turn(next)
		timer.Reset(time.Until(l.due(next)))
	}
}

// turn goes on where sockets were full, and makes the passes that are due, and the tick
// if that is due. It returns when the next tick is.
func (l *loop) turn(next time.Time) time.Time {
	l.mu.Lock()
	l.resting = append(l.resting, l.woken...)
	l.woken = l.woken[:0]
	l.going, l.roomy = l.roomy, l.going[:0]
	shards, tick := l.shards, l.tick
	l.mu.Unlock()
	for _, c := range l.going {
		c.goOn()
	}
	clear(l.going) // for the collector
	l.resting = slices.DeleteFunc(l.resting, func(s *shard) bool {
		if s.rests() {
			return false
		}
		s.pass()
		return true
	})
	wall := time.Now()
	if until := wall.Add(tick); next.After(until) { // a hub with a shorter one has come
		next = until
	}
	if wall.Before(next) {
		return next
	}
	for _, s := range shards {
		s.check(wall)
	}
	return wall.Add(tick)
}

// due is when there is something to do next, unless the loop is woken before: the
// tick, or the first pass.
func (l *loop) due(next time.Time) time.Time {
	for _, s := range l.resting {
		if s.rested.Before(next) {
			next = s.rested
		}
	}
	return next
}
