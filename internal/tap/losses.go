package tap

import (
	"bytes"
	"slices"
)

// What is kept of losses.
const (
	maxLosses      = 200
	maxLossPayload = 4 << 10 // bytes of each
)

// losses are the last messages that were lost, the oldest first. They are guarded by Tap.mu.
type losses []Way

// Lost keeps for Losses a message that is given up or rejected, whether or not anybody follows. One that is rejected again, since
// an input does not give it up, is there once.
func (t *Tap) Lost(m Message, s Step) {
	lost := Way{Message: m.kept(maxLossPayload), Steps: []Step{received(&m), s.noted()}, Done: true}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.Step == Rejected && slices.ContainsFunc(t.losses, lost.again) {
		return
	}
	if len(t.losses) >= maxLosses {
		t.losses = slices.Delete(t.losses, 0, 1)
	}
	t.losses = append(t.losses, lost)
}

// again reports whether another is the same message, lost in the same way.
func (w *Way) again(other Way) bool {
	m, o := &w.Message, &other.Message
	return m.EventID == o.EventID && m.Topic == o.Topic && bytes.Equal(m.Payload, o.Payload) && w.Steps[1].Step == other.Steps[1].Step
}

// Losses are the last 200 messages that were lost, the newest first. They must not be changed.
func (t *Tap) Losses() []Way {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.Clone([]Way(t.losses))
	slices.Reverse(all)
	return all
}
