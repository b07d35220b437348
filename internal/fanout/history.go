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

// history knows where in the queues a client goes on that has seen a message. It
// holds no frames, only places in the queues, and by them all that is newer. It
// is guarded by Hub.mu.
//
// The oldest entry is the message before the first that can be had: who has seen
// it has missed nothing. (At the beginning of the hub there is no such message.)
type history struct {
	bounds  History
	entries []entry           // oldest first
	first   uint64            // the number of entries[0], counted from the hub's beginning
	byID    map[string]uint64 // to the number
}

type entry struct {
	id   string
	end  place // behind the message
	when time.Time
}

// place is a place in both queues of a hub.
type place struct{ plain, deflated cursor }

func (p *place) of(q *queue, h *Hub) cursor {
	if q == h.plain {
		return p.plain
	}
	return p.deflated
}

func newHistory(bounds History, begin place) history {
	h := history{bounds: bounds}
	if h.enabled() {
		h.entries = []entry{{end: begin}}
		h.byID = make(map[string]uint64)
	}
	return h
}

func (h *history) enabled() bool { return h.bounds != History{} }

// len is how many messages can be had.
func (h *history) len() int { return max(0, len(h.entries)-1) }

// add notes the message that ends at end, the newest.
func (h *history) add(id string, end place, now time.Time) {
	if id != "" {
		h.byID[id] = h.first + uint64(len(h.entries))
	}
	h.entries = append(h.entries, entry{id: id, end: end, when: now})
	h.trim(now)
}

// has reports whether the message id is known.
func (h *history) has(id string) bool {
	_, ok := h.byID[id]
	return ok
}

// after is the place behind the message id, or false if it is not known.
func (h *history) after(id string, now time.Time) (place, bool) {
	h.trim(now)
	n, ok := h.byID[id]
	if !ok {
		return place{}, false
	}
	return h.entries[n-h.first].end, true
}

// oldest is the place before the first message that can be had; end is the end
// of the queues.
func (h *history) oldest(end place) place {
	if len(h.entries) == 0 {
		return end
	}
	return h.entries[0].end
}

// trim forgets what is beyond the bounds.
func (h *history) trim(now time.Time) {
	for h.len() > 0 && h.exceeded(now) {
		gone := &h.entries[0]
		delete(h.byID, gone.id)
		*gone = entry{} // the frames must not be held by what is out of sight
		h.entries = h.entries[1:]
		h.first++
	}
}

func (h *history) exceeded(now time.Time) bool {
	b := &h.bounds
	last := &h.entries[len(h.entries)-1]
	return b.MaxMessages > 0 && h.len() > b.MaxMessages ||
		b.MaxBytes > 0 && last.end.plain.pos()-h.entries[0].end.plain.pos() > uint64(b.MaxBytes) ||
		b.MaxAge > 0 && now.Sub(h.entries[1].when) > b.MaxAge
}

// forget trims the history while nothing is broadcast.
func (h *Hub) forget(now time.Time) {
	if !h.history.enabled() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history.trim(now)
}

// Keeps reports whether the hub has a history, so that a message is not lost
// while nobody is connected.
func (h *Hub) Keeps() bool { return h.history.enabled() }

// WaitForMessage returns when the message can be resumed from, or with the
// context's error. It is for the time when a history is being filled.
func (h *Hub) WaitForMessage(ctx context.Context, id string) error {
	for {
		h.mu.Lock()
		_, known := h.history.after(id, time.Now())
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
)

// tell queues the message that tells the client of a gap. The caller must hold c.mu.
func (c *Conn) tell(reason GapReason, dropped uint64) {
	c.private = append(c.private, c.gapMessage(reason, dropped)...)
}

// gapMessage is that message, nil if clients are not told. The caller must hold c.mu.
func (c *Conn) gapMessage(reason GapReason, dropped uint64) []byte {
	c.untold = 0
	if c.hub.cfg.Gap == nil {
		return nil
	}
	return appendMessage(nil, byte(Text), c.hub.cfg.Gap(reason, dropped), c.hub.cfg.MaxFrame)
}
