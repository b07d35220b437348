package iottrigger

import (
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/tap"
	"github.com/iotcast/iotcast/plugins/internal/tapping"
)

// tapped tells whoever follows what becomes of messages.
type tapped struct {
	tap    *tap.Tap // nil: nobody follows
	stream string
}

func (t tapped) failed(m *service.Message, err error) {
	if t.tap != nil {
		t.tap.Note(tap.Step{Step: tap.Failed, Stream: t.stream, Reason: err.Error()}, tapping.EventID(m))
	}
}

// encoded is for messages that have become an envelope.
func (t tapped) encoded(source service.MessageBatch, messages []envelope.Message, out *service.Message) {
	if t.tap == nil {
		return
	}
	ids := make([]string, len(source))
	for i, m := range source {
		if ids[i] = tapping.EventID(m); ids[i] != messages[i].EventID { // the field event_id
			t.tap.Alias(ids[i], messages[i].EventID)
		}
	}
	bytes, _ := out.AsBytes()
	id := tapping.EventID(out)
	t.tap.Envelope(id, ids)
	t.tap.NoteEnvelope(id, tap.Step{Step: tap.Encoded, Stream: t.stream, Messages: len(ids), Bytes: len(bytes)})
}
