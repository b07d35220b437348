package iottrigger

import (
	"github.com/redpanda-data/benthos/v4/public/service"
	"go.opentelemetry.io/otel/trace"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
	"github.com/iotcast/iotcast/plugins/internal/permanent"
)

// envelopes writes the messages of a batch as envelopes. It gathers a run of neighbours of one format, and writes the run
// when a message of another format or a failed message ends it.
type envelopes struct {
	limit limit
	batch service.MessageBatch

	run    []envelope.Message // the last of them is at end-1 of the batch
	end    int
	format envelope.Format

	done   service.MessageBatch
	tapped tapped
}

// add takes the message at an index of the batch into an envelope.
func (e *envelopes) add(index int, format envelope.Format, m envelope.Message) {
	if format != e.format {
		e.flush()
	}
	e.format = format
	e.run = append(e.run, m)
	e.end = index + 1
}

// pass sends the message at an index of the batch on as it is, after its predecessors.
func (e *envelopes) pass(index int) {
	e.flush()
	e.done = append(e.done, e.batch[index])
}

// fail gives a message an error that it will have however often it is tried.
func (e *envelopes) fail(m *service.Message, err error) {
	m.SetError(permanent.Error(err))
	e.tapped.failed(m, err)
}

// flush writes the run.
func (e *envelopes) flush() {
	source := e.batch[e.end-len(e.run) : e.end]
	for g := range envelope.Split(e.format, e.run, e.limit.bytes) {
		first := source[g.From]
		if g.Err != nil && e.limit.strict {
			e.fail(first, g.Err)
			e.done = append(e.done, first)
			continue
		}
		msgs := e.run[g.From:g.To]
		// A copy, not a new message, for the sake of its metadata and its context: tracing, and the way back of a nack.
		out := first.Copy()
		out.SetBytes(envelope.AppendEnvelope(make([]byte, 0, g.Size), e.format, msgs))
		out.MetaSetMut(metakey.EventID, msgs[len(msgs)-1].EventID)
		out.MetaSetMut(metakey.Messages, int64(len(msgs)))
		linkTraces(source[g.From:g.To])
		e.tapped.encoded(source[g.From:g.To], msgs, out)
		// Not WithCollapsedCount: Benthos v4.80.0 puts back the contexts that messages had before a processor, and loses it.
		e.done = append(e.done, out)
	}
	e.run = e.run[:0]
}

// linkTraces leads from the trace of the first message, which goes on with the
// envelope, to those of the others, which end with it.
func linkTraces(messages service.MessageBatch) {
	span := trace.SpanFromContext(messages[0].Context())
	if !span.IsRecording() {
		return
	}
	for _, m := range messages[1:] {
		span.AddLink(trace.LinkFromContext(m.Context()))
	}
}
