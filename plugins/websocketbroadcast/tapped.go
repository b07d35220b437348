package websocketbroadcast

import (
	"time"

	"github.com/google/uuid"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/tap"
	"github.com/iotcast/iotcast/plugins/internal/tapping"
)

// tapped tells whoever follows what becomes of messages.
type tapped struct {
	of            func() *tap.Tap // nil: there is none
	stream        string
	gateway, path string
}

func (t *tapped) step(step string) tap.Step {
	return tap.Step{Step: step, At: time.Now(), Stream: t.stream, Gateway: t.gateway, Path: t.path}
}

// lost is for a message that came here with an error, and is given up.
func (t *tapped) lost(m *service.Message, err error) {
	all := t.of()
	if all == nil {
		return
	}
	s := t.step(tap.GivenUp)
	s.Reason = err.Error()
	if all.On() {
		all.NoteEnvelope(tapping.EventID(m), s)
	}
	all.Lost(tapping.Message(m, t.stream), s)
}

// rejected is for an envelope that goes back to the input.
func (t *tapped) rejected(m *service.Message, err error) { t.reject(m, err, false) }

// refused is for one that can never be sent. Of an input that is ours the input tells when it is given up; any other does what
// it likes with it.
func (t *tapped) refused(m *service.Message, err error, ours bool) { t.reject(m, err, !ours) }

func (t *tapped) reject(m *service.Message, err error, lost bool) {
	all := t.of()
	if all == nil {
		return
	}
	s := t.step(tap.Rejected)
	s.Reason = err.Error()
	if all.On() {
		all.NoteEnvelope(tapping.EventID(m), s)
	}
	if lost {
		all.Lost(tapping.Message(m, t.stream), s)
	}
}

// followed is an envelope of which somebody may follow a message; nil: nobody does.
type followed struct {
	*tapped
	tap *tap.Tap
	id  string
}

// follow has the fan-out tell what becomes of an envelope, if somebody follows one of its messages. They begin their way here
// if no input of this process has received them.
func (t *tapped) follow(m *service.Message, out *fanout.Message) *followed {
	all := t.of()
	if !all.On() {
		return nil
	}
	f := &followed{t, all, tapping.EventID(m)}
	if f.id == "" || !all.Knows(f.id) {
		f.enter(m, out)
	}
	if !all.Follows(f.id) {
		return nil
	}
	out.Written = f.written
	return f
}

func (f *followed) enter(m *service.Message, out *fanout.Message) {
	messages := tapping.Messages(out.Payload, f.stream)
	if len(messages) == 0 { // it is no envelope
		messages = []tap.Message{tapping.Message(m, f.stream)}
	}
	ids := make([]string, len(messages))
	for i, m := range messages {
		if m.EventID == "" { // or all of those without one would be taken for the same
			m.EventID = uuid.NewString()
		}
		ids[i] = m.EventID
		f.tap.Enter(m)
	}
	if f.id == "" {
		f.id = ids[len(ids)-1]
	}
	f.tap.Envelope(f.id, ids)
}

// now is when a broadcast begins.
func (f *followed) now() (at time.Time) {
	if f != nil {
		at = time.Now()
	}
	return at
}

func (f *followed) broadcast(at time.Time, connections int) {
	if f != nil {
		s := f.step(tap.Broadcast)
		s.At, s.Connections = at, connections
		f.tap.NoteEnvelope(f.id, s)
	}
}

func (f *followed) noConnections() {
	if f != nil {
		f.tap.NoteEnvelope(f.id, f.step(tap.NoConnections))
	}
}

// written is told by the fan-out.
func (f *followed) written(w fanout.Written) {
	f.tap.NoteEach(f.id, func(i int) tap.Step {
		reach := w.Reach
		if i < len(w.Parts) {
			reach = w.Parts[i]
		}
		s := f.step(tap.Written)
		s.At, s.Reason = w.At, w.Unwatched
		s.Connections, s.NotConcerned, s.HeldBack = reach.Got, reach.NotConcerned, reach.HeldBack
		s.Waiting, s.Dropped, s.Closed = reach.Waiting, reach.Dropped, reach.Closed
		if reach.Got > 0 {
			first, last := reach.First.UTC(), reach.Last.UTC()
			s.First, s.Last = &first, &last
		}
		return s
	})
}
