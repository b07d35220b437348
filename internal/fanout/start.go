package fanout

import "time"

// Start says what a connection gets before what is live.
type Start struct {
	Choice     *Choice       // what it wants to get; nil: everything
	ResumeFrom string        // the ID of the last message that it has seen; "": it starts anew
	Rewind     time.Duration // starting anew, it gets what the history holds of that time
	NoLatest   bool          // it does not want the newest of what is kept by Config.Latest
	WithLatest bool          // it wants that where it goes on, too, behind what it has missed
	Answer     []byte        // a message that it gets before all others; empty: none
	Heartbeat  time.Duration // it gets Config.Heartbeat when it got nothing for so long; 0: never
}

// A past is what a connection gets before its queue. It is guarded by Conn.mu.
type past interface {
	// read returns the next frames, nil if there are no more.
	read(c *Conn) []byte
}

// begin puts a connection where it is to start: by what comes before its queue, or by
// a place in it. The caller must hold c.mu and h.mu.
func (h *Hub) begin(c *Conn, start *Start) {
	now := time.Now()
	switch {
	case start.ResumeFrom != "" && h.history.enabled():
		at, ok := h.history.find(start.ResumeFrom, now)
		ok = ok && (start.Choice == nil || at.end.plain.seq >= h.inParts) // else nobody knows what it wants of them
		paced := c.group.selection.pacer != nil && !start.NoLatest && h.latest.enabled()
		switch {
		case ok && !paced && start.WithLatest && h.latest.enabled():
			r := h.replay(c, at)
			r.then = h.snapshot(c)
			c.past = r
			return
		case ok && !paced:
			c.private = append(c.private, h.heldBefore(c, at, start.ResumeFrom, now)...)
			h.goOn(c, at)
			return
		case !ok:
			c.tell(GapHistory, 0)
		}
		if start.NoLatest || !h.latest.enabled() {
			h.goOn(c, seen{h.history.oldest, len(h.history.oldest.parts)})
			return
		}
	case start.ResumeFrom != "":
		c.tell(GapHistory, 0)
	case start.Rewind > 0 && h.history.enabled():
		h.goOn(c, h.history.since(now.Add(-start.Rewind), now))
		return
	}
	if !start.NoLatest && h.latest.enabled() {
		c.past = h.snapshot(c)
	}
}

// goOn lets a connection read what came after a message. The caller must hold c.mu and
// h.mu.
func (h *Hub) goOn(c *Conn, at seen) {
	if c.group.selection == h.all && at.whole() && h.keepsAll(at, c.takes) {
		c.cur, c.complete = at.end.of(c.takes), 0
		return
	}
	c.past = h.replay(c, at)
}

// keepsAll reports whether a queue of everything holds all behind a message. The caller
// must hold h.mu.
func (h *Hub) keepsAll(at seen, as variant) bool {
	switch as {
	case asPlain:
		return true
	case asDeflated:
		return at.end.deflated.chunk != nil && at.end.plain.seq >= h.unbroken
	}
	return false // of events nothing is kept
}

// replay is what is in the history behind a message. The caller must hold c.mu and
// h.mu.
func (h *Hub) replay(c *Conn, at seen) *replay {
	return &replay{of: h.history, at: at, last: h.history.newest, chooser: newChooser(c.group.selection.choice)}
}

// pastBytes is how much is made at a time of what a connection gets before its queue:
// with what stands around it still no more than 64 KiB, which is whole pages.
const pastBytes = 63 << 10

// pastBytes is less where a client is to get nothing old.
func (h *Hub) pastBytes() int {
	if h.cfg().SlowConsumer == OnlyLatest {
		return freshBytes
	}
	return pastBytes
}

// replay is the part of a history that a connection wants. It reads the frames of
// everything where they are.
type replay struct {
	of      *history
	at      seen
	last    *entry
	chooser *chooser
	then    *snapshot // what follows; nil: nothing
	payload []byte
}

// read implements past.
func (r *replay) read(c *Conn) (frames []byte) {
	for len(frames) < pastBytes {
		seen := r.at.parts
		if r.at.whole() {
			if r.at.entry == r.last {
				break
			}
			seen, r.at.entry = 0, r.at.next
		}
		r.at.parts = len(r.at.entry.parts)
		frames = r.message(c, frames, seen)
	}
	if len(frames) == 0 && r.then != nil {
		c.past = r.then
		return r.then.read(c)
	}
	c.shard.count.bytes.Add(int64(len(frames)))
	return frames
}

// message appends what is wanted of a message, but for the parts that were seen.
func (r *replay) message(c *Conn, frames []byte, seen int) []byte {
	message := r.at.begin.message()
	if r.chooser == nil && seen == 0 && c.wire == webSocket {
		c.shard.count.deliveries.Add(1)
		return append(frames, message...)
	}
	cfg := c.hub.cfg()
	r.payload = appendPayload(r.payload[:0], message)
	if r.chooser == nil && seen == 0 {
		c.shard.count.deliveries.Add(1)
		return c.wire.append(frames, message[0]&opcodeSet, r.at.id, r.payload, cfg.MaxFrame)
	}
	w := wrapper{wrap: &cfg.Wrap}
	id := ""
	for _, part := range r.at.entry.parts[seen:] {
		if r.chooser.wants(part.Key, part.Topic) {
			w.add(r.payload[part.From:part.To])
			id = part.ID
		}
	}
	if !w.begun {
		return frames
	}
	c.shard.count.deliveries.Add(1)
	return c.wire.append(frames, message[0]&opcodeSet, id, w.close(), cfg.MaxFrame)
}
