package fanout

import (
	"context"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config says how a hub treats its connections.
type Config struct {
	Limits
	WantsMessages bool          // the peers get what clients send, or else it is only counted
	MaxFrame      int           // larger messages go out in several frames; 0: never
	CloseTimeout  time.Duration // for what is left to write, and for the peer's Close frame
	Compression   bool          // what connections resume from is kept compressed, too
	History       History       // what later connections can resume from
	Latest        Latest        // of which keys the newest part is kept, for those that come
	Wrap          Wrap          // what a payload of parts is made with; with it connections can choose
	Heartbeat     []byte        // the payload of a text message without meaning, for those that want a sign of life

	// Parts takes apart what is broadcast, where it is of use: where somebody has chosen,
	// or Latest keeps something. Nil: Message.Parts is there already.
	Parts func(payload []byte) []Part
	Apart bool // every message is taken apart, so that those may choose that resume
	// Gap makes the payload of the text message that tells a client of a gap,
	// before anything that comes after it; nil: clients are not told.
	Gap func(GapReason, uint64) []byte
	// Served is told after a pass over connections how long ago the oldest of
	// its messages was received; nil: nobody. All connections wait for it.
	Served func(time.Duration)
	// Received is told the size of each message of a client; nil: nobody. The
	// reading of all connections waits for it.
	Received func(bytes int)
}

// Message is what a hub broadcasts.
type Message struct {
	Opcode   Opcode
	Payload  []byte
	ID       string    // a client that has seen the message can resume from it; "": it cannot
	Received time.Time // when the first part of it reached this process; zero: now
	Parts    []Part    // what can be chosen of it, in the order of the payload

	// Written is told once what has become of the message: when each connection that it concerns has it or never will, or
	// after some seconds. It is not called if Broadcast returns 0 or Closed. It must not use the hub, and not take long, since
	// connections may wait for it. Nil: nobody asks.
	Written func(Written)
}

// Hub broadcasts to the connections of one route. Its methods may be called
// concurrently.
type Hub struct {
	config   atomic.Pointer[settings]
	engine   *engine
	shards   []*shard
	conns    atomic.Int64
	turn     atomic.Uint64 // deals connections to shards
	messages atomic.Int64  // that were broadcast to at least one connection
	repeated atomic.Int64  // messages that had been broadcast before, and were not again

	mu       sync.Mutex // one broadcasts or attaches at a time; guards all up to gone
	all      *selection // of everything
	chosen   selections // the others
	pacing   pacing
	deflater deflater
	history  *history
	inParts  uint64 // of plain messages: all behind were taken apart
	unbroken uint64 // of plain messages: all behind are in the deflated queue of everything, too
	latest   latest
	arrived  chan struct{} // closed when the first connection attaches
	news     chan struct{} // closed by the next broadcast; nil if nobody waits for it
	goodbye  func(*Conn)   // set by Close, for those that attach after it; nil: the hub is open
	peers    int           // that have not been told yet that their connections ended
	gone     chan struct{} // closed when Close was called and all peers have been told

	choosing  atomic.Int64  // how many selections chosen has
	counted   atomic.Uint64 // latest.count, for those that do not hold mu
	broadcast atomic.Uint64 // bytes of payload that were queued for at least one connection
	lag       sync.Mutex    // guards stopped, and shard.passed of all shards
	room      *sync.Cond    // of lag: a shard has made a pass, or more may wait
	stopped   bool          // Broadcast waits no more
	probes    probes
}

// NewHub returns a hub, which must be closed.
func NewHub(cfg Config) *Hub {
	h := &Hub{
		engine: startEngine(), arrived: make(chan struct{}), gone: make(chan struct{}), history: new(history),
		pacing: pacing{selections: make(map[*selection]struct{})},
	}
	h.config.Store(newSettings(Config{}))
	h.all = newSelection(nil, len(h.engine.loops))
	h.room = sync.NewCond(&h.lag)
	h.Configure(cfg)
	for i, l := range h.engine.loops {
		h.shards = append(h.shards, newShard(h, l, i))
	}
	return h
}

// Len is the number of connections.
func (h *Hub) Len() int { return int(h.conns.Load()) }

// Closed is what Broadcast returns once Close was called: the message goes nowhere.
const Closed = -1

// Broadcast queues a message for every connection, keeps it for those that
// resume, and returns the number of connections, or Closed. With no connection and no
// history it does nothing. A message whose ID is in the history was broadcast before:
// it is counted, and not sent again. Broadcast never waits for a socket. It waits for
// the loops, when messages come faster than they can make their passes.
func (h *Hub) Broadcast(m Message) int {
	h.waitForRoom(uint64(len(m.Payload)))
	at := time.Now()
	if m.Received.IsZero() {
		m.Received = at
	}
	apart := h.takeApart(&m)
	h.mu.Lock()
	if h.goodbye != nil {
		h.mu.Unlock()
		return Closed
	}
	apart = apart || h.takeApart(&m) // somebody may have chosen since
	keep := h.history.enabled()
	if keep && h.history.has(m.ID) {
		h.mu.Unlock()
		h.repeated.Add(1)
		n := h.Len()
		if m.Written != nil && n > 0 {
			m.Written(Written{Unwatched: "it was broadcast before", At: at})
		}
		return n
	}
	probe := h.probes.begin(&m, h.Len(), at)
	concerned := h.all.conns()
	if concerned > 0 || keep {
		if probe != nil {
			h.expect(probe, h.all, nil)
		}
		h.append(&m, keep)
	}
	concerned += h.choose(&m, probe, at)
	h.latest.add(&m, at)
	h.counted.Store(h.latest.count)
	if keep {
		if !apart {
			h.inParts = h.all.plain.head.Load().seq
		}
		h.history.add(&m, h.all.place(), at)
		if h.news != nil {
			close(h.news)
			h.news = nil
		}
	}
	n := h.Len()
	h.mu.Unlock()
	if probe != nil {
		h.probes.arm(probe, len(m.Parts))
	}
	if n > 0 {
		h.messages.Add(1)
	}
	if concerned == 0 {
		return n
	}
	h.broadcast.Add(uint64(len(m.Payload)))
	for _, s := range h.shards {
		s.oldest.CompareAndSwap(0, int64(m.Received.Sub(start)))
		s.loop.wakeUp(s)
	}
	return n
}

// takeApart finds the parts of a message, if they are of use to anyone now.
func (h *Hub) takeApart(m *Message) bool {
	cfg := h.cfg()
	switch {
	case cfg.Parts == nil:
		return true
	case cfg.Apart, cfg.Latest.MaxKeys > 0, h.choosing.Load() > 0:
		m.Parts = cfg.Parts(m.Payload)
		return true
	}
	return false
}

// append appends a message to the queues of everything. The caller must hold h.mu.
func (h *Hub) append(m *Message, keep bool) {
	cfg := h.cfg()
	plain, deflated := h.all.plain, h.all.read(asDeflated)
	if plain.conns > 0 || keep {
		plain.append(byte(m.Opcode), m.ID, m.Payload, cfg.MaxFrame)
	}
	if keep && cfg.Compression {
		deflated = h.all.queue(asDeflated)
	}
	if deflated != nil {
		first, small := h.deflater.deflate(byte(m.Opcode), m.Payload)
		deflated.append(first, m.ID, small, cfg.MaxFrame)
	} else {
		h.unbroken = plain.head.Load().seq
	}
	if q := h.all.read(asEvent); q != nil {
		q.append(byte(m.Opcode), m.ID, m.Payload, cfg.MaxFrame)
	}
	h.wake(h.all)
}

// choose appends to each selection what of a message concerns it. It returns how many
// connections get something. The caller must hold h.mu.
func (h *Hub) choose(m *Message, probe *probe, now time.Time) (conns int) {
	if len(h.chosen.byName) == 0 {
		return 0
	}
	cfg := h.cfg()
	h.chosen.pick(m.Parts)
	for _, s := range h.chosen.concerns {
		if s.pacer != nil {
			var before []int
			if probe != nil {
				before = slices.Clone(s.picked)
			}
			s.picked = s.pacer.pass(m, s.picked, h.latest.bounds.ByTopic, now)
			h.setClock(s)
			if probe != nil {
				h.holdBack(probe, s, before)
			}
		}
		if len(s.picked) == 0 {
			continue
		}
		if probe != nil {
			h.expect(probe, s, s.picked)
		}
		s.append(m.Opcode, m.Parts[s.picked[len(s.picked)-1]].ID, h.chosen.payloadOf(m, s.picked, &cfg.Wrap), &h.deflater, cfg.MaxFrame)
		s.picked = s.picked[:0]
		conns += s.conns()
		h.wake(s)
	}
	return conns
}

// wake has the next pass serve a selection. The caller must hold h.mu.
func (h *Hub) wake(s *selection) {
	for i, g := range s.groups {
		if g != nil {
			h.shards[i].wake(g)
		}
	}
}

// waitForRoom holds a broadcast back while the shards are behind by half of
// what a connection may have waiting, so that QueueBytes measures the
// connection's slowness and never ours.
func (h *Hub) waitForRoom(need uint64) {
	highWater := uint64(h.cfg().QueueBytes) / 2
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
// connections. The caller must hold h.lag.
func (h *Hub) behind() uint64 {
	all := h.broadcast.Load()
	slowest := all
	for _, s := range h.shards {
		slowest = min(slowest, s.passed)
	}
	return all - slowest
}

// WaitForConnection returns nil when there is at least one connection, or the hub is
// closed. It returns the context's error if that ends before.
func (h *Hub) WaitForConnection(ctx context.Context) error {
	for {
		h.mu.Lock()
		n, arrived, closed := h.Len(), h.arrived, h.goodbye != nil
		h.mu.Unlock()
		if n > 0 || closed {
			return nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Client is what a hub must know of a connection that it is to take.
type Client struct {
	Prelude    []byte // goes out before all else: the answer to the handshake
	Early      []byte // came in already, behind the handshake; Attach overwrites it
	Events     bool   // takes events (SSE) in place of frames, and sends nothing
	Compressed bool   // takes and may send compressed messages (RFC 7692, without context takeover)
	Start

	Peer Peer // nil: nobody hears of the connection
	// Attached gets the connection before the first byte goes out to the client, so
	// that whoever hears of the connection from there can find it. It must not call
	// the connection's methods.
	Attached func(*Conn)
}

// Attach adds a connection, and reads from it until it ends. It gets every message
// that is broadcast after the one that it resumes from, or else from now on. A
// client that has seen the prelude misses nothing.
func (h *Hub) Attach(nc net.Conn, client Client) *Conn {
	c := h.attach(nc, client)
	if len(client.Early) > 0 {
		c.received(client.Early, nil)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inbox == nil || !c.inbox.paused {
		c.listen()
	}
	return c
}

func (h *Hub) attach(nc net.Conn, client Client) *Conn {
	c := newConn(h, h.shards[h.turn.Add(1)%uint64(len(h.shards))], nc, client)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.private = client.Prelude
	if len(client.Answer) > 0 {
		c.private = c.append(c.private, "", client.Answer)
	}
	h.mu.Lock()
	h.join(c, client.Choice)
	h.begin(c, &client.Start)
	h.peers++
	if h.conns.Add(1) == 1 {
		close(h.arrived)
		h.arrived = make(chan struct{})
	}
	goodbye := h.goodbye
	h.mu.Unlock()

	if client.Attached != nil {
		client.Attached(c)
	}
	c.flush(mark{})
	if c.cur.pos() < c.resumed {
		c.shard.wake(c.group)
		c.shard.loop.wakeUp(c.shard)
	}
	if goodbye != nil {
		goodbye(c)
	}
	return c
}

// join makes a connection one of those with the same choice. It misses no Close: that
// finds it in its shard, or else has set goodbye before. The caller must hold c.mu and
// h.mu.
func (h *Hub) join(c *Conn, choice *Choice) {
	s := h.all
	if choice != nil {
		name := choice.text()
		if s = h.chosen.find(name); s == nil {
			s = newSelection(choice, len(h.shards))
			s.name = name
			h.chosen.add(s)
			h.choosing.Add(1)
			if s.pacer != nil {
				h.pacing.selections[s] = struct{}{}
			}
		}
	}
	c.queue = s.queue(c.takes)
	c.queue.conns++
	c.cur = c.queue.newest()
	c.resumed = c.newest().pos
	c.complete = h.latest.count
	g := s.groups[c.shard.index]
	if g == nil {
		g = &group{selection: s}
		s.groups[c.shard.index] = g
	}
	c.group = g
	c.shard.add(c)
}

// part takes a connection out of those with the same choice. The caller must hold
// c.mu and h.mu.
func (h *Hub) part(c *Conn) {
	s := c.group.selection
	c.queue.conns--
	if c.shard.remove(c) && s != h.all {
		s.groups[c.shard.index] = nil
	}
	if s != h.all && s.conns() == 0 {
		h.chosen.drop(s)
		h.choosing.Add(-1)
		delete(h.pacing.selections, s)
	}
}

// detach takes out a connection that has ended. The caller must hold c.mu.
func (h *Hub) detach(c *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.part(c)
	h.conns.Add(-1)
}

// leave is for when a connection's peer has been told of the end.
func (h *Hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.peers--
	h.closeGone()
}

// closeGone closes gone if Close was called and all peers have been told. It may be
// closed already: a connection can attach after the last has ended. The caller must
// hold h.mu.
func (h *Hub) closeGone() {
	if h.peers > 0 || h.goodbye == nil {
		return
	}
	select {
	case <-h.gone:
	default:
		close(h.gone)
	}
}

// Drain begins to close the connections that are open, as [Conn.CloseWith] does,
// one after the other over a time, so that their clients do not all come back at
// once. It returns when the last is told, or ctx ends. What is broadcast meanwhile
// goes to those that were not told yet.
func (h *Hub) Drain(ctx context.Context, over time.Duration, code uint16, cause error) {
	var conns []*Conn
	for _, s := range h.shards {
		s.each(func(c *Conn) { conns = append(conns, c) })
	}
	const step = 10 * time.Millisecond // several in one, if there are many
	began := time.Now()
	for i, c := range conns {
		due := began.Add(over * time.Duration(i+1) / time.Duration(len(conns)))
		if wait := time.Until(due); wait >= step {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
		c.CloseWith(code, cause)
	}
}

// Close closes every connection with code and cause, each after all that was
// broadcast before, and waits until their peers have been told of the end. When ctx
// ends it closes the sockets, and does not wait for peers any more. What is broadcast
// from here on goes nowhere.
func (h *Hub) Close(ctx context.Context, code uint16, cause error) {
	h.mu.Lock()
	if h.goodbye == nil { // who waits for a connection waits in vain
		close(h.arrived)
		h.arrived = make(chan struct{})
	}
	h.goodbye = func(c *Conn) { c.finish(code, cause) }
	h.closeGone()
	h.mu.Unlock()
	for _, s := range h.shards {
		s.each(func(c *Conn) { c.CloseWith(code, cause) })
	}
	select {
	case <-h.gone:
	case <-ctx.Done():
	}
	h.mu.Lock()
	if h.pacing.clock != nil {
		h.pacing.clock.Stop()
	}
	h.goodbye = func(c *Conn) { // nobody looks after who comes now
		c.finish(code, cause)
		c.hangUp()
	}
	h.mu.Unlock()
	for _, s := range h.shards {
		s.each((*Conn).abort)
	}
	h.lag.Lock()
	h.stopped = true
	h.room.Broadcast()
	h.lag.Unlock()
	for _, s := range h.shards {
		s.loop.remove(s)
	}
	h.engine.release()
}
