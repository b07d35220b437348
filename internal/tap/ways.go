package tap

import (
	"container/list"
	"slices"
	"strings"
	"time"
)

// What is kept of messages on their way.
const (
	maxWays     = 4096
	maxWayBytes = 32 << 20         // of payload and topic, of all ways
	maxSteps    = 60               // of a way: one that is retried has ever more
	maxReason   = 1 << 10          // bytes
	maxAliases  = 4                // of a way
	wayLasts    = 10 * time.Second // it is not followed for longer
)

// way is a message that is followed. It is guarded by Tap.mu.
type way struct {
	Way
	ids       []string // in Tap.ways
	envelopes []*envelope
	followers []*Follower // that want it, unless it is of other gateways
	began     time.Time
	place     *list.Element // in Tap.order; nil: it is not followed any more
	settled   bool          // the input has done with it
	unwritten int           // broadcasts of which it is not known what has become
}

// envelope is what was made of messages.
type envelope struct {
	id   string
	ways []*way // of its messages, in their order; nil where one is not followed
	left int    // of these, that are followed still
}

// received is the first step.
func received(m *Message) Step {
	return Step{Step: Received, At: m.ReceivedAt, Stream: m.Stream}.noted()
}

// noted is the step as it is kept.
func (s Step) noted() Step {
	if s.At.IsZero() {
		s.At = time.Now()
	}
	s.At = s.At.UTC()
	if len(s.Reason) > maxReason {
		s.Reason = strings.ToValidUTF8(s.Reason[:maxReason], "") + "…"
	}
	return s
}

// settles reports whether the input has done with a message after the step.
func (s *Step) settles() bool { return s.Step == Acknowledged || s.Step == GivenUp }

// begin begins a way for those who want it, if there are any. The caller must hold t.mu.
func (t *Tap) begin(m *Message, wanted []*Follower, entered bool) {
	if len(wanted) == 0 {
		return
	}
	if before := t.ways[m.EventID]; before != nil { // whoever gives event IDs has given this one twice
		t.end(before)
	}
	if t.order.Len() >= maxWays || t.bytes+m.size() > maxWayBytes {
		for _, f := range wanted {
			f.skip()
		}
		return
	}
	w := &way{Way: Way{Message: *m}, followers: wanted, began: time.Now(), settled: entered}
	if !entered {
		w.Steps = append(make([]Step, 0, 8), received(m))
	}
	w.place = t.order.PushBack(w)
	t.bytes += m.size()
	t.name(w, m.EventID)
	t.setExpiry()
}

// name has a way be found by an ID. The caller must hold t.mu.
func (t *Tap) name(w *way, id string) {
	if t.ways[id] == nil && len(w.ids) <= maxAliases {
		t.ways[id] = w
		w.ids = append(w.ids, id)
	}
}

// Alias says that a message has another event ID from now on, too.
func (t *Tap) Alias(eventID, alias string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told.has(eventID) {
		t.told.add(alias)
	}
	if w := t.ways[eventID]; w != nil {
		t.name(w, alias)
	}
}

// Envelope says of which messages an envelope is made, in their order. The id is the event ID that it goes on with.
func (t *Tap) Envelope(id string, eventIDs []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &envelope{id: id, ways: make([]*way, len(eventIDs))}
	for i, eventID := range eventIDs {
		if w := t.ways[eventID]; w != nil && len(w.envelopes) < maxSteps {
			e.ways[i] = w
			e.left++
			w.envelopes = append(w.envelopes, e)
		}
	}
	if e.left > 0 {
		t.envelopes[id] = e
	}
}

// Knows reports whether the tap was told of a message with an event ID, or of an envelope that has it, whether or not anybody
// follows it. Such need not enter.
func (t *Tap) Knows(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told.has(id) || t.follows(id)
}

// Follows reports whether somebody follows a message with an event ID, or one of an envelope that has it.
func (t *Tap) Follows(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.follows(id)
}

func (t *Tap) follows(id string) bool { return t.envelopes[id] != nil || t.ways[id] != nil }

// Note adds a step to the ways of messages.
func (t *Tap) Note(s Step, eventIDs ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range eventIDs {
		if s.settles() {
			t.told.remove(id)
		}
		t.note(t.ways[id], s)
	}
}

// NoteEnvelope adds a step to the ways of the messages of an envelope, or of the message that has the ID itself.
func (t *Tap) NoteEnvelope(id string, s Step) {
	t.NoteEach(id, func(int) Step { return s })
}

// NoteEach adds to the way of each message of an envelope a step, which may differ by its place.
func (t *Tap) NoteEach(id string, step func(i int) Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.envelopes[id]
	if e == nil {
		t.note(t.ways[id], step(0))
		return
	}
	for i, w := range e.ways {
		if w != nil {
			t.note(w, step(i))
		}
	}
}

// note adds a step to a way, unless that is nil or not followed any more. The caller must hold t.mu.
func (t *Tap) note(w *way, s Step) {
	if w == nil || w.place == nil {
		return
	}
	if len(w.Steps) < maxSteps {
		w.Steps = append(w.Steps, s.noted())
	}
	switch {
	case s.settles():
		w.settled = true
	case s.Step == Broadcast && s.Connections > 0:
		w.unwritten++
	case s.Step == Written:
		w.unwritten-- // perhaps before the broadcast is noted
	}
	if w.settled && w.unwritten == 0 {
		w.Done = true
		t.end(w)
	}
}

// end hands a way to its followers. The caller must hold t.mu.
func (t *Tap) end(w *way) {
	t.order.Remove(w.place)
	w.place = nil
	t.bytes -= w.Message.size()
	for _, id := range w.ids {
		delete(t.ways, id)
	}
	for _, e := range w.envelopes {
		if e.left--; e.left == 0 && t.envelopes[e.id] == e {
			delete(t.envelopes, e.id)
		}
	}
	slices.SortStableFunc(w.Steps, func(a, b Step) int { return a.At.Compare(b.At) })
	for _, f := range w.followers {
		f.way(w)
	}
	w.followers, w.envelopes = nil, nil
}

// setExpiry has the clock ring for the oldest way. The caller must hold t.mu.
func (t *Tap) setExpiry() {
	if t.order.Len() != 1 { // it is set for an older one, or will be
		return
	}
	if t.expiry == nil {
		t.expiry = time.AfterFunc(wayLasts, t.expire)
		return
	}
	t.expiry.Reset(wayLasts)
}

// expire ends the ways that have lasted too long.
func (t *Tap) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for oldest := t.order.Front(); oldest != nil; oldest = t.order.Front() {
		w := oldest.Value.(*way)
		if left := wayLasts - time.Since(w.began); left > 0 {
			t.expiry.Reset(left)
			return
		}
		t.end(w)
	}
}

// forgetWays is for when nobody follows any more. The caller must hold t.mu.
func (t *Tap) forgetWays() {
	t.told = told{}
	clear(t.ways)
	clear(t.envelopes)
	for oldest := t.order.Front(); oldest != nil; oldest = t.order.Front() {
		t.order.Remove(oldest)
		oldest.Value.(*way).place = nil
	}
	t.bytes = 0
	if t.expiry != nil {
		t.expiry.Stop()
	}
}
