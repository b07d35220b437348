package fanout

import (
	"slices"
	"sync/atomic"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// A selection is what all connections with the same choice read: a log of frames of
// its own. They share the frames, and a broadcast finds the selections that it
// concerns without looking at the others.
//
// It is guarded by Hub.mu, but for what is appended to the queues.
type selection struct {
	choice *Choice  // nil: everything, in the words of the broadcast
	name   string   // Choice.text
	within *chooser // what is outside of it is left out; nil: nothing is
	plain  *queue
	others [variants]atomic.Pointer[queue] // the same messages in other variants; nil: nobody takes that one yet
	groups []*group                        // its connections, by shard; nil: none
	pacer  *pacer                          // nil: nothing is held back
	picked []int                           // the parts of the message that is being broadcast

	served atomic.Uint64 // of plain: the last message that a pass has offered
}

func newSelection(choice *Choice, shards int) *selection {
	s := &selection{choice: choice, pacer: newPacer(choice), plain: newQueue(webSocket), groups: make([]*group, shards)}
	if choice != nil {
		s.within = newChooser(choice.Within)
	}
	return s
}

// queue returns the queue of a variant, and begins it if there is none. The caller must
// hold Hub.mu.
func (s *selection) queue(as variant) *queue {
	if as == asPlain {
		return s.plain
	}
	q := s.others[as].Load()
	if q == nil {
		q = newQueue(as.wire())
		s.others[as].Store(q)
	}
	return q
}

// read is the queue of a variant that connections read, or nil. The caller must hold
// Hub.mu.
func (s *selection) read(as variant) *queue {
	if q := s.others[as].Load(); q != nil && q.conns > 0 {
		return q
	}
	return nil
}

// conns is how many connections it has.
func (s *selection) conns() int {
	n := s.plain.conns
	for as := range s.others {
		if q := s.others[as].Load(); q != nil {
			n += q.conns
		}
	}
	return n
}

// append appends a message to its queues. There are many selections, and most of them
// have little to say: their queues have room to spare only while messages gather. The
// caller must hold Hub.mu.
func (s *selection) append(op Opcode, id string, payload []byte, d *deflater, maxFrame int) {
	s.plain.tight = s.served.Load() == s.plain.head.Load().seq
	s.plain.append(byte(op), id, payload, maxFrame)
	if q := s.read(asDeflated); q != nil {
		q.tight = s.plain.tight
		first, small := d.deflate(byte(op), payload)
		q.append(first, id, small, maxFrame)
	}
	if q := s.read(asEvent); q != nil {
		q.tight = s.plain.tight
		q.append(byte(op), id, payload, maxFrame)
	}
}

// place is the end of the queues.
func (s *selection) place() place {
	p := place{plain: s.plain.newest()}
	if q := s.others[asDeflated].Load(); q != nil {
		p.deflated = q.newest()
	}
	return p
}

// limits are where a pass ends, in the queue of each variant of a selection.
type limits struct {
	of     [variants]mark
	latest uint64 // all numbers of Hub.latest up to it are before
}

func (s *selection) limits(h *Hub) (l limits) {
	l.latest = h.counted.Load() // first
	l.of[asPlain] = *s.plain.head.Load()
	for as := range s.others {
		if q := s.others[as].Load(); q != nil {
			l.of[as] = *q.head.Load()
		}
	}
	return l
}

// group is the connections of a selection that one shard has. Its fields are
// guarded by shard.mu.
type group struct {
	selection *selection
	conns     []*Conn
	woken     bool // something was appended since the last pass
}

// selections are those of a hub beside that of everything. They are guarded by
// Hub.mu.
type selections struct {
	byName   map[string]*selection
	all      []*selection
	byKey    map[string][]*selection
	byFilter iotcore.Trie[*selection]
	concerns []*selection // by the message that is being broadcast
	payload  []byte       // of the parts for one of them
}

// find returns the selection with a name, and nil if there is none.
func (s *selections) find(name string) *selection { return s.byName[name] }

// add makes a selection known.
func (s *selections) add(made *selection) {
	if s.byName == nil {
		s.byName, s.byKey = make(map[string]*selection), make(map[string][]*selection)
	}
	s.byName[made.name] = made
	choice := made.choice
	if choice.All {
		s.all = append(s.all, made)
	}
	for _, key := range choice.Keys {
		s.byKey[key] = append(s.byKey[key], made)
	}
	for _, filter := range choice.Filters {
		s.byFilter.Add(filter, made)
	}
}

// drop forgets a selection that has no connections any more.
func (s *selections) drop(gone *selection) {
	delete(s.byName, gone.name)
	if i := slices.Index(s.all, gone); i >= 0 {
		s.all = slices.Delete(s.all, i, i+1)
	}
	for _, key := range gone.choice.Keys {
		if i := slices.Index(s.byKey[key], gone); i >= 0 {
			s.byKey[key] = slices.Delete(s.byKey[key], i, i+1)
		}
		if len(s.byKey[key]) == 0 {
			delete(s.byKey, key)
		}
	}
	for _, filter := range gone.choice.Filters {
		s.byFilter.Remove(filter, gone)
	}
}

// pick finds the selections that parts concern: it sets concerns, and in each of those
// picked.
func (s *selections) pick(parts []Part) {
	s.concerns = s.concerns[:0]
	for i := range parts {
		p := &parts[i]
		take := func(found *selection) {
			if n := len(found.picked); n > 0 && found.picked[n-1] == i || !found.within.wants(p.Key, p.Topic) {
				return
			}
			if len(found.picked) == 0 {
				s.concerns = append(s.concerns, found)
			}
			found.picked = append(found.picked, i)
		}
		if p.Key != "" {
			for _, found := range s.byKey[p.Key] {
				take(found)
			}
		}
		for _, found := range s.all {
			take(found)
		}
		s.byFilter.Match(p.Topic, take)
	}
}

// payloadOf is a message with the picked parts of another. It is valid until the
// next call.
func (s *selections) payloadOf(m *Message, picked []int, wrap *Wrap) []byte {
	size := len(wrap.Open) + len(wrap.Close) + (len(picked)-1)*len(wrap.Between)
	for _, i := range picked {
		size += m.Parts[i].To - m.Parts[i].From
	}
	// Nothing but the parts is in the payload, if it is not longer: what else there
	// may be is nobody's choice.
	if len(picked) == len(m.Parts) && size == len(m.Payload) {
		return m.Payload
	}
	w := wrapper{wrap: wrap, out: s.payload[:0]}
	for _, i := range picked {
		w.add(m.Payload[m.Parts[i].From:m.Parts[i].To])
	}
	s.payload = w.close()
	return s.payload
}
