package fanout

import (
	"context"
	"time"
)

// History bounds what a hub keeps for clients that come back. It keeps nothing
// if all are zero; else a zero bound does not apply.
type History struct {
	MaxMessages int
	MaxBytes    int64 // of frames, uncompressed
	MaxAge      time.Duration
}

// history knows where in the queues of everything a client goes on that has seen a
// message. It holds no frames, only places in the queues, and by them all that is
// newer. It is guarded by Hub.mu.
//
// The oldest entry is the message before the first that can be had: who has seen
// it has missed nothing. (At the beginning of the hub there is no such message.)
type history struct {
	bounds History
	oldest *entry // nil: there is no history
	newest *entry
	size   int // how many messages can be had: entries behind the oldest
	byID   map[string]seen
}

// entry is a message. Entries are linked towards the newer end only, as chunks of a
// queue are: who reads on from one needs no lock up to an entry that it knew under
// it.
type entry struct {
	id    string
	begin cursor // of its frames, in the plain queue
	end   place  // behind them
	when  time.Time
	parts []Part
	next  *entry
}

// seen is a message, or a part of one, and what is before it.
type seen struct {
	*entry
	parts int // of the entry
}

// whole reports whether all of the message has been seen.
func (s seen) whole() bool { return s.parts >= len(s.entry.parts) }

// place is a place in the queues of a selection that hold what can be resumed from.
// deflated has no chunk where nothing is compressed.
type place struct{ plain, deflated cursor }

func (p *place) of(as variant) cursor {
	if as == asDeflated {
		return p.deflated
	}
	return p.plain
}

func newHistory(bounds History, begin place) *history {
	h := &history{bounds: bounds}
	if h.enabled() {
		h.oldest = &entry{end: begin}
		h.newest = h.oldest
		h.byID = make(map[string]seen)
	}
	return h
}

// bindHistory gives the history other bounds. One that is turned off is gone for those
// that come; who reads from it reads on. The caller must hold h.mu.
func (h *Hub) bindHistory(bounds History, now time.Time) {
	if on := bounds != (History{}); on != h.history.enabled() {
		h.history = newHistory(bounds, h.all.place())
		return
	}
	h.history.bounds = bounds
	h.history.trim(now)
}

func (h *history) enabled() bool { return h.bounds != History{} }

// add notes a message, the newest, which ends at end.
func (h *history) add(m *Message, end place, now time.Time) {
	e := &entry{id: m.ID, begin: h.newest.end.plain, end: end, when: now, parts: m.Parts}
	for i, part := range m.Parts {
		if part.ID != "" {
			h.byID[part.ID] = seen{e, i + 1}
		}
	}
	if e.id != "" {
		h.byID[e.id] = seen{e, len(e.parts)}
	}
	h.newest.next = e
	h.newest = e
	h.size++
	h.trim(now)
}

// has reports whether the message id is known.
func (h *history) has(id string) bool {
	_, ok := h.byID[id]
	return ok
}

// last is the ID of the newest message; "": there is none, or it has none.
func (h *history) last() string {
	if !h.enabled() {
		return ""
	}
	return h.newest.id
}

// find returns the message id, or false if it is not known.
func (h *history) find(id string, now time.Time) (seen, bool) {
	h.trim(now)
	at, ok := h.byID[id]
	return at, ok
}

// since returns the newest message that is older than a time, or else the oldest.
func (h *history) since(at time.Time, now time.Time) seen {
	h.trim(now)
	e := h.oldest
	for e.next != nil && e.next.when.Before(at) {
		e = e.next
	}
	return seen{e, len(e.parts)}
}

// trim forgets what is beyond the bounds.
func (h *history) trim(now time.Time) {
	for h.size > 0 && h.exceeded(now) {
		gone := h.oldest
		for _, part := range gone.parts {
			h.forget(part.ID, gone)
		}
		h.forget(gone.id, gone)
		h.oldest = gone.next
		h.size--
	}
}

// forget forgets an ID, unless a newer message has it.
func (h *history) forget(id string, gone *entry) {
	if h.byID[id].entry == gone {
		delete(h.byID, id)
	}
}

func (h *history) exceeded(now time.Time) bool {
	b := &h.bounds
	return b.MaxMessages > 0 && h.size > b.MaxMessages ||
		b.MaxBytes > 0 && h.newest.end.plain.pos()-h.oldest.end.plain.pos() > uint64(b.MaxBytes) ||
		b.MaxAge > 0 && now.Sub(h.oldest.next.when) > b.MaxAge
}

// forget trims the history while nothing is broadcast.
func (h *Hub) forget(now time.Time) {
	if !h.Keeps() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history.trim(now)
}

// Keeps reports whether the hub has a history, so that a message is not lost
// while nobody is connected.
func (h *Hub) Keeps() bool { return h.cfg().History != (History{}) }

// WaitForMessage returns when the message can be resumed from, or with the
// context's error. It is for the time when a history is being filled.
func (h *Hub) WaitForMessage(ctx context.Context, id string) error {
	for {
		h.mu.Lock()
		_, known := h.history.find(id, time.Now())
		if h.news == nil {
			h.news = make(chan struct{})
		}
		news := h.news
		h.mu.Unlock()
		if known {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// GapReason is why a client has not got all messages.
type GapReason uint8

const (
	// GapHistory: the message that the client resumes from is not known, or not
	// any more. What there is follows.
	GapHistory GapReason = iota
	// GapSlowConsumer: DropOldest has dropped messages for this connection.
	GapSlowConsumer
	gapReasons
)

// GapReasons are all that there are.
func GapReasons() (all []GapReason) {
	for r := range gapReasons {
		all = append(all, r)
	}
	return all
}

// String is how clients and metrics have it.
func (r GapReason) String() string {
	if r == GapSlowConsumer {
		return "slow_consumer"
	}
	return "history"
}

// tell queues the message that tells the client of a gap. The caller must hold c.mu.
func (c *Conn) tell(reason GapReason, dropped uint64) {
	c.private = append(c.private, c.gapMessage(reason, dropped)...)
}

// gapMessage is that message, which counts as told, nil if clients are not told. The caller must hold c.mu.
func (c *Conn) gapMessage(reason GapReason, dropped uint64) []byte {
	c.untold = 0
	if c.hub.cfg().Gap == nil {
		return nil
	}
	c.shard.count.gaps[reason].Add(1)
	return c.append(nil, "", c.hub.cfg().Gap(reason, dropped))
}
