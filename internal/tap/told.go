package tap

// maxTold is how many event IDs a generation has. What waits for a broadcast is less, as inputs have bounds of their own.
const maxTold = 8192

// told are the event IDs of messages that inputs of this process have told of, and have not done with: also of those that
// nobody wants, or that found no room. The oldest are forgotten. It is guarded by Tap.mu.
type told struct{ young, old map[string]struct{} }

func (t *told) add(id string) {
	if len(t.young) >= maxTold {
		t.young, t.old = nil, t.young
	}
	if t.young == nil {
		t.young = make(map[string]struct{})
	}
	t.young[id] = struct{}{}
}

func (t *told) has(id string) bool {
	_, young := t.young[id]
	_, old := t.old[id]
	return young || old
}

func (t *told) remove(id string) {
	delete(t.young, id)
	delete(t.old, id)
}
