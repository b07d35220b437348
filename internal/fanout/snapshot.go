package fanout

import (
	"cmp"
	"math"
	"slices"
)

// snapshot is a past that holds no values: it reads those that are still the newest of
// their keys. What has taken the place of one is in the queue, and comes by that.
type snapshot struct {
	chooser *chooser // nil: it wants all
	after   uint64   // the last that was read
	until   uint64   // the last to read
	only    []uint64 // the numbers to read, where they are known; nil: all
	behind  string   // the ID of the message behind which a client goes on once it has all of the snapshot
}

// snapshot is the newest of all that a connection wants, as of now. The caller must
// hold c.mu and h.mu.
func (h *Hub) snapshot(c *Conn) *snapshot {
	s := new(snapshot)
	s.aim(h, c.group.selection)
	return s
}

// aim has the snapshot go on to what is the newest now. The caller must hold h.mu.
func (s *snapshot) aim(h *Hub, of *selection) {
	s.behind = h.history.last()
	s.until, s.only = h.latest.count, nil
	if of.choice == nil || of.choice.All && of.choice.Within == nil {
		return
	}
	if s.chooser == nil {
		s.chooser = newChooser(of.choice)
	}
	if of.choice.All || len(of.choice.Filters) > 0 || h.latest.bounds.ByTopic {
		return
	}
	s.only = make([]uint64, 0, len(of.choice.Keys)) // not a walk over all others
	for _, key := range of.choice.Keys {
		if number := h.latest.byKey[key]; number > s.after {
			s.only = append(s.only, number)
		}
	}
	slices.Sort(s.only)
	s.only = slices.Compact(s.only)
}

// read implements past.
func (s *snapshot) read(c *Conn) (p []byte) {
	c.hub.mu.Lock()
	for p == nil && s.after < s.until {
		p = s.next(c)
	}
	c.hub.mu.Unlock()
	if p != nil {
		c.shard.count.deliveries.Add(1)
		c.shard.count.bytes.Add(int64(len(p)))
	}
	return p
}

// next reads one envelope, and returns nil if nothing is left of what was to be in it.
// The caller must hold c.mu and h.mu.
func (s *snapshot) next(c *Conn) []byte {
	l, most := &c.hub.latest, c.hub.pastBytes()
	if s.chooser != nil {
		return s.render(c, asPlain, s.until, most)
	}
	b := l.block(s.after, s.until, most)
	if b == nil { // others began elsewhere
		return s.render(c, asPlain, min(s.until, l.page.end(s.after+1)), most)
	}
	as := c.takes
	p := &b.closing(s.closing(l, b.last))[as]
	if *p == nil {
		*p = s.render(c, as, b.last, math.MaxInt)
	}
	s.after = b.last
	return *p
}

// closing is the ID for Wrap.CloseAt of what ends at a number; "": more follows. The
// caller must hold h.mu.
func (s *snapshot) closing(l *latest, number uint64) string {
	if len(s.only) > 0 || s.only == nil && !l.none(number, s.until) {
		return ""
	}
	return s.behind
}

// render makes an envelope of the values up to a number, or of most bytes. The caller must
// hold c.mu and h.mu.
func (s *snapshot) render(c *Conn, as variant, until uint64, most int) []byte {
	h := c.hub
	w := wrapper{wrap: &h.cfg().Wrap, out: h.chosen.payload[:0]}
	id := s.add(&w, &h.latest, until, most)
	if !w.begun {
		return nil
	}
	behind := s.closing(&h.latest, s.after)
	payload := w.closeAt(behind)
	h.chosen.payload = payload
	// The values may be older than all of the history: who has them goes on behind what
	// was the newest message then, not behind the last value.
	id = cmp.Or(behind, id)
	first := byte(Text)
	if as == asDeflated {
		first, payload = h.deflater.deflate(first, payload)
	}
	maxFrame := h.cfg().MaxFrame
	return c.wire.append(make([]byte, 0, c.wire.size(id, payload, maxFrame)), first, id, payload, maxFrame)
}

// add adds the values up to a number, or of most bytes, and returns the ID of the last.
// The caller must hold h.mu.
func (s *snapshot) add(w *wrapper, l *latest, until uint64, most int) (id string) {
	take := func(v *value) {
		if v.text != nil && s.chooser.wants(v.key, v.topic) {
			w.add(v.text)
			id = v.id
		}
	}
	if s.only != nil {
		for ; len(s.only) > 0 && len(w.out) < most; s.only = s.only[1:] {
			s.after = s.only[0]
			if i := l.find(s.after); i < len(l.values) && l.values[i].number == s.after {
				take(&l.values[i])
			}
		}
		if len(s.only) == 0 {
			s.after = until
		}
		return id
	}
	i := l.find(s.after + 1)
	for ; i < len(l.values) && l.values[i].number <= until; i++ {
		if len(w.out) >= most {
			return id
		}
		take(&l.values[i])
		s.after = l.values[i].number
	}
	s.after = until
	return id
}
