package fanout

import (
	"slices"
	"time"
)

// pacer holds back what a selection is to get, so that it gets at most one part of each
// key in an interval, and of those the newest. The first part after a quiet interval
// passes at once. It is guarded by Hub.mu.
type pacer struct {
	interval time.Duration
	keys     map[string]*held // those that got a part less than an interval ago
	turns    []turn           // of them, the next first
}

// held is what waits for a key's next turn.
type held struct {
	part []byte // nil: nothing does
	id   string
}

// turn is when a key may get a part again.
type turn struct {
	at  time.Time
	key string
}

func newPacer(c *Choice) *pacer {
	if c == nil || c.Interval == 0 {
		return nil
	}
	return &pacer{interval: c.Interval, keys: make(map[string]*held)}
}

// ticks is how many times in an interval something that was held back can go out.
// Turns wait for each other by that much, once, so that the keys of a page come
// together: a write costs far more than what is in it.
const ticks = 4

// next is when a key has its next turn that has one now.
func (p *pacer) next(now time.Time) time.Time {
	tick := max(p.interval/ticks, time.Nanosecond)
	return start.Add((now.Add(p.interval).Sub(start) + tick - 1) / tick * tick)
}

// pass removes from picked what is held back.
func (p *pacer) pass(m *Message, picked []int, byTopic bool, now time.Time) []int {
	at := 0
	for _, i := range picked {
		part := &m.Parts[i]
		key := part.pacedBy(byTopic)
		if waits, ok := p.keys[key]; ok {
			waits.part, waits.id = append(waits.part[:0], m.Payload[part.From:part.To]...), part.ID
			continue
		}
		p.keys[key] = new(held)
		p.wait(turn{p.next(now), key})
		picked[at] = i
		at++
	}
	return picked[:at]
}

// pacedBy is the key of which one part at a time passes.
func (p *Part) pacedBy(topic bool) string {
	if topic || p.Key == "" {
		return p.Topic
	}
	return p.Key
}

// heldBefore is for a connection that goes on behind a message: an interval may have
// held back something from before it, which was lost with the connection before. What
// is older than an interval and a tick has gone out. Of what is younger, a part that is
// the only one of its key was not held back; of several the newest may have been. It
// is sent, so that the client may get it twice. The caller must hold c.mu and h.mu, and
// have found the message at the time now: later the history may forget it.
func (h *Hub) heldBefore(c *Conn, at seen, id string, now time.Time) []byte {
	s := c.group.selection
	if s.pacer == nil {
		return nil
	}
	type found struct {
		entry *entry
		part  int
		count int
	}
	newest := make(map[string]*found)
	var order []*found
	interval, wants := s.pacer.interval, newChooser(s.choice)
	e := h.history.since(at.when.Add(-2*interval), now).entry
	for last := e == at.entry; !last; {
		e = e.next
		last = e == at.entry
		parts := e.parts
		if last {
			parts = parts[:min(at.parts, len(parts))]
		}
		for i := range parts {
			part := &parts[i]
			if !wants.wants(part.Key, part.Topic) {
				continue
			}
			key := part.pacedBy(h.latest.bounds.ByTopic)
			f := newest[key]
			if f == nil {
				f = new(found)
				newest[key] = f
				order = append(order, f)
			}
			f.entry, f.part = e, i
			f.count++
		}
	}
	w := wrapper{wrap: &h.cfg().Wrap}
	var payload []byte
	for _, f := range order {
		if f.count > 1 {
			payload = appendPayload(payload[:0], f.entry.begin.message())
			part := &f.entry.parts[f.part]
			w.add(payload[part.From:part.To])
		}
	}
	if !w.begun {
		return nil
	}
	return c.append(nil, id, w.closeAt(id))
}

// due adds the parts whose turn it is, and returns the ID of the last.
func (p *pacer) due(w *wrapper, now time.Time) (id string) {
	for len(p.turns) > 0 && !p.turns[0].at.After(now) {
		at, key := p.turns[0].at, p.turns[0].key
		p.turns = p.turns[1:]
		waits := p.keys[key]
		if len(waits.part) == 0 {
			delete(p.keys, key)
			continue
		}
		w.add(waits.part)
		waits.part, id = nil, waits.id
		if at = at.Add(p.interval); !at.After(now) { // the clock was late by all of it
			at = p.next(now)
		}
		p.wait(turn{at, key})
	}
	return id
}

// wait adds a turn. As a rule it is the last.
func (p *pacer) wait(t turn) {
	i := len(p.turns)
	for i > 0 && p.turns[i-1].at.After(t.at) {
		i--
	}
	p.turns = slices.Insert(p.turns, i, t)
}

// waiting adds the parts that wait, the next first, and returns the ID of the last.
func (p *pacer) waiting(w *wrapper) (id string) {
	for _, t := range p.turns {
		if waits := p.keys[t.key]; len(waits.part) > 0 {
			w.add(waits.part)
			id = waits.id
		}
	}
	return id
}

// pacing is the selections of a hub that have a pacer, and the clock for them. It is
// guarded by Hub.mu.
type pacing struct {
	selections map[*selection]struct{}
	clock      *time.Timer // nil: none has a turn to wait for
	at         time.Time   // when it rings
}

// setClock has the clock ring for the next turn, if there is one. The caller must hold
// h.mu.
func (h *Hub) setClock(s *selection) {
	if s.pacer == nil || len(s.pacer.turns) == 0 {
		return
	}
	p, at := &h.pacing, s.pacer.turns[0].at
	switch {
	case p.clock == nil:
		p.clock = time.AfterFunc(time.Until(at), h.takeTurns)
	case p.at.IsZero() || at.Before(p.at):
		p.clock.Reset(time.Until(at))
	default:
		return
	}
	p.at = at
}

// takeTurns appends what is due.
func (h *Hub) takeTurns() {
	now := time.Now()
	h.mu.Lock()
	h.pacing.at = time.Time{}
	for s := range h.pacing.selections {
		w := wrapper{wrap: &h.cfg().Wrap, out: h.chosen.payload[:0]}
		if id := s.pacer.due(&w, now); w.begun {
			h.chosen.payload = w.close()
			s.append(Text, id, h.chosen.payload, &h.deflater, h.cfg().MaxFrame)
			h.wake(s)
		}
		h.setClock(s)
	}
	h.mu.Unlock()
	for _, s := range h.shards {
		s.loop.wakeUp(s)
	}
}
