package envelopelog

import (
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/tap"
	"github.com/iotcast/iotcast/plugins/internal/tapping"
)

// tapped tells whoever follows what becomes of messages.
type tapped struct {
	of     func() *tap.Tap // nil: there is none
	stream string
}

// note adds a step to the ways of an envelope's messages. The error may be nil.
func (t *tapped) note(m *service.Message, step string, err error) {
	if all := t.of(); all.On() {
		all.NoteEnvelope(tapping.EventID(m), t.step(step, err))
	}
}

// lost is for a message that came here with an error, and is given up.
func (t *tapped) lost(m *service.Message, err error) {
	t.note(m, tap.GivenUp, err)
	if all := t.of(); all != nil {
		all.Lost(tapping.Message(m, t.stream), t.step(tap.GivenUp, err))
	}
}

func (t *tapped) step(step string, err error) tap.Step {
	s := tap.Step{Step: step, Stream: t.stream}
	if err != nil {
		s.Reason = err.Error()
	}
	return s
}
