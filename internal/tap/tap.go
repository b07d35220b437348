// Package tap shows messages on their way through the process, to whoever follows. It imports nothing of Benthos, MQTT or HTTP.
//
// Components tell it what they do with a message, by its event ID, when [Tap.On] says that somebody follows: off, it costs
// them an atomic load. A message that a follower wants has a way (ways.go), which collects its steps until nothing more
// comes; then the follower gets it (follower.go). Apart from that it keeps the last message of each device (latest.go), if it
// is asked to, and what was lost (losses.go).
//
// All of it is bounded, and nobody waits: what finds no room is left out, and counted for whoever followed it.
package tap

import (
	"container/list"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Tap is told of messages and their steps. All of its methods may be called concurrently; of a nil Tap, On and Receives.
type Tap struct {
	followers atomic.Pointer[[]*Follower] // nil: nobody follows; replaced with mu held, and never written to
	receives  atomic.Bool

	mu        sync.Mutex // guards what follows, and all ways, and what waits for followers
	told      told
	ways      map[string]*way // by event ID, and by alias
	order     list.List       // of *way, the oldest first
	bytes     int             // of their payloads
	envelopes map[string]*envelope
	expiry    *time.Timer // of the oldest way; nil: there was none yet
	latest    latest
	losses    losses
}

type key struct{}

// Key is under which resources have the *Tap of the process. Without a management API there is none.
var Key any = key{}

// New returns a tap that nobody follows.
func New() *Tap { return &Tap{ways: make(map[string]*way), envelopes: make(map[string]*envelope)} }

// On reports whether somebody follows, so that steps are worth noting.
func (t *Tap) On() bool { return t != nil && t.followers.Load() != nil }

// Receives reports whether somebody wants to hear of what is received.
func (t *Tap) Receives() bool { return t != nil && t.receives.Load() }

// Receive begins the way of a message that an input has received.
func (t *Tap) Receive(m Message) { t.show(&m, false) }

// Enter begins the way of a message which in this process begins with a broadcast: that of an envelope that came from
// elsewhere. It is done when all broadcasts of it are.
func (t *Tap) Enter(m Message) { t.show(&m, true) }

// show tells who wants a message of it, and begins its way for them.
func (t *Tap) show(m *Message, entered bool) {
	wanted := t.wanted(m)
	if len(wanted) > 0 {
		*m = m.kept(MaxPayload)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latest.add(m)
	if !t.On() {
		return
	}
	if !entered {
		t.told.add(m.EventID)
	}
	wanted = still(wanted)
	for _, f := range wanted {
		f.tell(m)
	}
	t.begin(m, wanted, entered)
}

// wanted are the followers whose filter a message fits, wherever it goes. It takes no lock, since to look through a payload
// takes long.
func (t *Tap) wanted(m *Message) (wanted []*Follower) {
	of := searched{Message: m}
	for _, f := range t.following() {
		if f.filter.wants(&of) {
			wanted = append(wanted, f)
		}
	}
	return wanted
}

// still are those that have not been closed meanwhile. The caller must hold t.mu.
func still(followers []*Follower) []*Follower {
	return slices.DeleteFunc(followers, func(f *Follower) bool { return f.err != nil })
}

// LeaveOut shows a message that an input has received and left out.
func (t *Tap) LeaveOut(m Message, reason string) {
	wanted := t.wanted(&m)
	if len(wanted) == 0 {
		return
	}
	m = m.kept(MaxPayload)
	w := &way{Way: Way{Message: m, Done: true, Steps: []Step{received(&m), Step{Step: LeftOut, Stream: m.Stream, Reason: reason}.noted()}}}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range still(wanted) {
		f.way(w)
	}
}
