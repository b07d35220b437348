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
	"sync"
	"sync/atomic"
	"time"
)

// Tap is told of messages and their steps. All of its methods may be called concurrently; of a nil Tap, On and Receives.
type Tap struct {
	followed, receives atomic.Bool

	mu        sync.Mutex // guards what follows, and all ways and followers
	followers map[*Follower]struct{}
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
func New() *Tap {
	return &Tap{followers: make(map[*Follower]struct{}), ways: make(map[string]*way), envelopes: make(map[string]*envelope)}
}

// On reports whether somebody follows, so that steps are worth noting.
func (t *Tap) On() bool { return t != nil && t.followed.Load() }

// Receives reports whether somebody wants to hear of what is received.
func (t *Tap) Receives() bool { return t != nil && t.receives.Load() }

// Receive begins the way of a message that an input has received.
func (t *Tap) Receive(m Message) {
	on := t.On()
	if on {
		m = m.kept(MaxPayload)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latest.add(&m)
	if on {
		t.show(&m, false)
	}
}

// Enter begins the way of a message which in this process begins with a broadcast: that of an envelope that came from
// elsewhere. It is done when all broadcasts of it are.
func (t *Tap) Enter(m Message) {
	m = m.kept(MaxPayload)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.latest.add(&m)
	t.show(&m, true)
}

// show tells who wants a message of it, and begins its way for them. The caller must hold t.mu.
func (t *Tap) show(m *Message, entered bool) {
	wanted := t.wanted(m)
	for _, f := range wanted {
		f.tell(m)
	}
	t.begin(m, wanted, entered)
}

// wanted are the followers whose filter a message fits, wherever it goes. The caller must hold t.mu.
func (t *Tap) wanted(m *Message) (wanted []*Follower) {
	for f := range t.followers {
		if f.filter.wants(m) {
			wanted = append(wanted, f)
		}
	}
	return wanted
}

// LeaveOut shows a message that an input has received and left out.
func (t *Tap) LeaveOut(m Message, reason string) {
	m = m.kept(MaxPayload)
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &way{Way: Way{Message: m, Done: true, Steps: []Step{received(&m), Step{Step: LeftOut, Stream: m.Stream, Reason: reason}.noted()}}}
	for _, f := range t.wanted(&m) {
		f.way(w)
	}
}
