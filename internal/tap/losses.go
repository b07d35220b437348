package tap

import "slices"

// What is kept of losses.
const (
	maxLosses      = 200
	maxLossPayload = 4 << 10 // bytes of each
)

// losses are the last messages that were lost, the oldest first. They are guarded by Tap.mu.
type losses []Way

// Lost keeps for Losses a message that is given up or rejected, whether or not anybody follows.
func (t *Tap) Lost(m Message, s Step) {
	lost := Way{Message: m.kept(maxLossPayload), Steps: []Step{received(&m), s.noted()}, Done: true}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.losses) >= maxLosses {
		t.losses = slices.Delete(t.losses, 0, 1)
	}
	t.losses = append(t.losses, lost)
}

// Losses are the last 200 messages that were lost, the newest first. They must not be changed.
func (t *Tap) Losses() []Way {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.Clone([]Way(t.losses))
	slices.Reverse(all)
	return all
}
