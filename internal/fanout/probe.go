package fanout

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Written is what has become of a message that was broadcast.
type Written struct {
	Reach               // of the message, or of what each connection wants of it
	Parts     []Reach   // of each of Message.Parts; nil: all of them reach whom the message does
	Unwatched string    // why nothing is known; "": it is
	At        time.Time // when it was known
}

// Reach is how many connections a message or a part of it has reached, of those that were open when it was broadcast. Each
// of them is counted once.
type Reach struct {
	Got          int       // the socket has taken all of it
	First, Last  time.Time // when the first and the last did; zero: none has
	NotConcerned int       // they have chosen something else
	HeldBack     int       // an interval holds it back, until it or something newer goes out
	Waiting      int       // their sockets are still full
	Dropped      int       // the policy for slow consumers has left it out
	Closed       int       // they ended before
}

// How many messages of a hub are watched at a time, and for how long.
const (
	maxProbes    = 16
	probeLasts   = 5 * time.Second
	probeMakeWay = time.Second // after which one gives way to another
)

// probes are the messages of a hub that somebody wants to see written. Whoever writes to a connection, ends it or has it
// lose something has it looked at afterwards, if there are any.
type probes struct {
	on atomic.Bool // there are some

	mu  sync.Mutex
	all []*probe // the oldest first; guarded by mu
}

// probe is one message. It is guarded by probes.mu.
type probe struct {
	tell    func(Written)
	began   time.Time
	conns   int // of the hub
	parts   int // 0: nobody had chosen
	targets []*target
	pending map[*Conn]pending
	armed   bool // all targets are there
}

// target is connections that are to get the same of a message.
type target struct {
	picked []int // parts; nil: all
	beside bool  // the same connections are in another target, with other parts
	Reach
}

// pending is what is known of a connection that has not got the message.
type pending struct {
	target  *target
	queue   *queue
	seq     uint64 // of the message in the queue
	last    uint64 // of what was taken from the queue with it, and the socket has not taken; 0: it is not taken yet
	dropped bool
}

// begin makes a probe for a message that is about to be appended. It returns nil if nobody wants one, or too many are watched.
// One that has to give way is told what is known by now. The caller must hold h.mu.
func (ps *probes) begin(m *Message, conns int, now time.Time) *probe {
	if m.Written == nil || conns == 0 {
		return nil
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if len(ps.all) >= maxProbes {
		if now.Sub(ps.all[0].began) < probeMakeWay {
			go m.Written(Written{Unwatched: "16 others are watched on this route", At: now})
			return nil
		}
		go ps.all[0].tell(ps.all[0].written(now))
		ps.all = slices.Delete(ps.all, 0, 1)
	}
	p := &probe{tell: m.Written, began: now, conns: conns, pending: make(map[*Conn]pending)}
	ps.all = append(ps.all, p)
	ps.on.Store(true)
	return p
}

// expect notes that the connections of a selection are to get the picked parts of the message, nil: all, by what is appended
// next to their queues. The caller must hold h.mu.
func (h *Hub) expect(p *probe, s *selection, picked []int) {
	var conns []*Conn
	for i, g := range s.groups {
		if g != nil {
			h.shards[i].mu.Lock()
			conns = append(conns, g.conns...)
			h.shards[i].mu.Unlock()
		}
	}
	t := &target{picked: slices.Clone(picked)}
	h.probes.mu.Lock()
	defer h.probes.mu.Unlock()
	p.targets = append(p.targets, t)
	for _, c := range conns {
		p.pending[c] = pending{target: t, queue: c.queue, seq: c.queue.head.Load().seq + 1}
	}
}

// holdBack notes which parts a pacer has taken out of those that were picked. The caller must hold h.mu.
func (h *Hub) holdBack(p *probe, s *selection, before []int) {
	held := slices.DeleteFunc(before, func(i int) bool { return slices.Contains(s.picked, i) })
	if len(held) == 0 {
		return
	}
	h.probes.mu.Lock()
	defer h.probes.mu.Unlock()
	p.targets = append(p.targets, &target{picked: held, beside: len(s.picked) > 0, Reach: Reach{HeldBack: s.conns()}})
}

// arm says that all targets of a probe are known. The caller must not hold h.mu.
func (ps *probes) arm(p *probe, parts int) {
	ps.mu.Lock()
	p.armed, p.parts = true, parts
	done := ps.finished(p)
	ps.mu.Unlock()
	if done {
		p.tell(p.written(time.Now()))
	}
}

// finished takes a probe out if nothing is left to see of it. The caller must hold ps.mu.
func (ps *probes) finished(p *probe) bool {
	if !p.armed || len(p.pending) > 0 {
		return false
	}
	i := slices.Index(ps.all, p)
	if i < 0 { // it has given way
		return false
	}
	ps.all = slices.Delete(ps.all, i, i+1)
	ps.on.Store(len(ps.all) > 0)
	return true
}

// look settles for the probes what is known of the connection.
func (c *Conn) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hub.probes.look(c)
}

// probe is look where there are probes. The caller must hold c.mu.
func (c *Conn) probe() {
	if c.hub.probes.on.Load() {
		c.hub.probes.look(c)
	}
}

// look settles what is known by now of a connection. The caller must hold c.mu.
func (ps *probes) look(c *Conn) {
	now := time.Now()
	var done []*probe
	ps.mu.Lock()
	for _, p := range slices.Clone(ps.all) {
		state, ok := p.pending[c]
		if !ok {
			continue
		}
		if !state.settle(c, now) {
			p.pending[c] = state
			continue
		}
		delete(p.pending, c)
		if ps.finished(p) {
			done = append(done, p)
		}
	}
	ps.mu.Unlock()
	for _, p := range done {
		p.tell(p.written(now))
	}
}

// settle reports whether it is known what has become of the message for a connection, and counts it. The caller must hold
// c.mu and probes.mu.
func (s *pending) settle(c *Conn, now time.Time) bool {
	taken := c.queue != s.queue || c.cur.seq >= s.seq // from the queue
	switch {
	case s.dropped:
		s.target.Dropped++
		return true
	case c.ended && (!taken || c.blocked || errors.Is(c.cause, ErrLost)), !taken && c.closing != nil && c.closing.stopAt.seq < s.seq:
		s.target.Closed++
		return true
	case c.ended:
	case c.queue != s.queue: // it has chosen anew: what it had chosen before is written first
		if c.blocked || c.past != nil {
			return false
		}
	case !taken:
		return false
	case !c.blocked, s.last > 0 && c.cur.seq > s.last:
	case s.last == 0 && c.cork == nil && c.writing == 0 && c.cur.seq > s.seq: // a write was cut in a later message
	default:
		s.last = max(s.last, c.cur.seq)
		return false
	}
	t := s.target
	if t.Got++; t.Got == 1 {
		t.First = now
	}
	t.Last = now
	return true
}

// skipped notes which messages are left out for a connection: those behind number from, up to its cursor. The caller must hold
// c.mu.
func (ps *probes) skipped(c *Conn, from uint64) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.all {
		s, ok := p.pending[c]
		if !ok || s.queue != c.queue {
			continue
		}
		switch {
		case s.seq > from:
			s.dropped = c.cur.seq >= s.seq
		case s.last == 0 || s.last == from: // it was taken before, and waits with others
			s.last = c.cur.seq
		}
		p.pending[c] = s
	}
}

// sweep tells of what was watched for long enough.
func (ps *probes) sweep(now time.Time) {
	var late []*probe
	ps.mu.Lock()
	for len(ps.all) > 0 && ps.all[0].armed && now.Sub(ps.all[0].began) >= probeLasts {
		late = append(late, ps.all[0])
		ps.all = slices.Delete(ps.all, 0, 1)
	}
	ps.on.Store(len(ps.all) > 0)
	written := make([]Written, len(late))
	for i, p := range late {
		written[i] = p.written(now)
	}
	ps.mu.Unlock()
	for i, p := range late {
		p.tell(written[i])
	}
}

// written is what is known by now. Nobody else may use the probe meanwhile.
func (p *probe) written(now time.Time) Written {
	for _, state := range p.pending {
		state.target.Waiting++
	}
	clear(p.pending)
	w := Written{At: now}
	for _, t := range p.targets {
		if !t.beside {
			w.add(t)
		}
	}
	w.NotConcerned = p.conns - w.conns()
	if p.parts == 0 || !slices.ContainsFunc(p.targets, func(t *target) bool { return t.picked != nil }) && w.NotConcerned == 0 {
		return w
	}
	w.Parts = make([]Reach, p.parts)
	for _, t := range p.targets {
		if t.picked == nil {
			for i := range w.Parts {
				w.Parts[i].add(t)
			}
		}
		for _, i := range t.picked {
			w.Parts[i].add(t)
		}
	}
	for i := range w.Parts {
		w.Parts[i].NotConcerned = p.conns - w.Parts[i].conns()
	}
	return w
}

// add counts the connections of a target.
func (r *Reach) add(t *target) {
	if t.Got > 0 && (r.Got == 0 || t.First.Before(r.First)) {
		r.First = t.First
	}
	if t.Last.After(r.Last) {
		r.Last = t.Last
	}
	r.Got += t.Got
	r.HeldBack += t.HeldBack
	r.Waiting += t.Waiting
	r.Dropped += t.Dropped
	r.Closed += t.Closed
}

// conns is how many connections are counted, but for those that are not concerned.
func (r *Reach) conns() int { return r.Got + r.HeldBack + r.Waiting + r.Dropped + r.Closed }
