// Package tap shows messages on their way through the process, to whoever follows. It imports nothing of Benthos, MQTT or HTTP.
package tap

import (
	"context"
	"sync/atomic"
)

// Tap is told of messages and their steps. All of its methods may be called concurrently; of a nil Tap, On and Receives.
type Tap struct {
	followed, receives atomic.Bool
}

type key struct{}

// Key is under which resources have the *Tap of the process. Without a management API there is none.
var Key any = key{}

// New returns a tap that nobody follows.
func New() *Tap { return &Tap{} }

// On reports whether somebody follows, so that steps are worth noting.
func (t *Tap) On() bool { return t != nil && t.followed.Load() }

// Receives reports whether somebody wants to hear of what is received.
func (t *Tap) Receives() bool { return t != nil && t.receives.Load() }

// KeepLatest has the last message of each device kept from now on.
func (t *Tap) KeepLatest() {}

// Receive begins the way of a message.
func (t *Tap) Receive(m Message) {}

// Note adds a step to the ways of messages.
func (t *Tap) Note(s Step, eventIDs ...string) {}

// Alias says that a message has another event ID from now on, too.
func (t *Tap) Alias(eventID, alias string) {}

// Envelope says of which messages an envelope is made. The id is the event ID that it is broadcast with.
func (t *Tap) Envelope(id string, eventIDs []string) {}

// NoteEnvelope adds a step to the ways of the messages of an envelope.
func (t *Tap) NoteEnvelope(id string, s Step) {}

// Lost keeps for Losses a message that is given up or rejected, whether or not anybody follows.
func (t *Tap) Lost(m Message, s Step) {}

// Losses are the last messages that were lost, the newest first.
func (t *Tap) Losses() []Way { return nil }

// Latest is the last message of each device of a registry since KeepLatest, of all registries if it is "", ordered by
// registry and device.
func (t *Tap) Latest(registryID string) []Message { return nil }

// Filter says what to follow. An empty field asks for everything.
type Filter struct {
	DeviceIDs []string
	Topics    []string // MQTT filters: a message matches if its device or its topic does, as with watch
	Streams   []string
	Gateway   string // with this or Path, only ways that pass there are told of
	Path      string
	Text      string // in the topic, the device ID or the payload, as far as it is kept; case does not matter
}

// Follow begins to follow. The follower must be closed.
func (t *Tap) Follow(f Filter) *Follower { return &Follower{} }

// Follower is told of messages.
type Follower struct{}

// Next waits for something to tell: messages that were received, ways that are done or will not be followed any longer, and
// how many of both were left out since the last call for want of room. The error is ctx's.
func (f *Follower) Next(ctx context.Context) (received []Message, ways []Way, skipped int, err error) {
	<-ctx.Done()
	return nil, nil, 0, ctx.Err()
}

// Close ends it.
func (f *Follower) Close() {}
