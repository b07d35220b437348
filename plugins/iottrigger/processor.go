// Package iottrigger provides the Benthos processor iot_trigger, which turns a batch of IoT messages into the envelope that
// clients of an IoT trigger receive. Importing it registers the processor.
package iottrigger

import (
	"context"
	"errors"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/tap"
	"github.com/iotcast/iotcast/plugins/internal/order"
	"github.com/iotcast/iotcast/plugins/internal/tapping"
)

func init() {
	service.MustRegisterBatchProcessor("iot_trigger", Spec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
			return newProcessor(conf, res)
		})
}

var _ service.BatchProcessor = (*processor)(nil)

// processor is safe for concurrent use: pipeline threads share it.
type processor struct {
	res      *service.Resources
	source   string
	fields   [fieldCount]field
	maxBytes int
	json     bool // payload_format
	eventIDs *envelope.EventIDs
	tap      func() *tap.Tap // of the process; nil: there is none

	unordered sync.Once // to warn
}

func newProcessor(conf *service.ParsedConfig, res *service.Resources) (*processor, error) {
	p := &processor{res: res, eventIDs: envelope.NewEventIDs(), tap: tapping.Once(res)}
	var err error
	if p.source, err = conf.FieldString(fieldSource); err != nil {
		return nil, err
	}
	for i, name := range fieldNames {
		if p.fields[i], err = parseField(conf, name); err != nil {
			return nil, err
		}
	}
	for _, f := range []fieldIndex{registryID, deviceID, brokerID} {
		if err := iotcore.ValidateIDLength(p.fields[f].name, p.fields[f].static); err != nil {
			return nil, err
		}
	}
	if p.maxBytes, err = conf.FieldInt(fieldMaxBytes); err != nil {
		return nil, err
	}
	// Lints can be skipped, and PATCH /streams/{id} is never linted.
	switch p.source {
	case sourceAuto, sourceDevice, sourceBroker:
	default:
		return nil, errSource(p.source)
	}
	payload, err := conf.FieldString(fieldPayload)
	if err != nil {
		return nil, err
	}
	switch payload {
	case payloadBase64, payloadJSON:
		p.json = payload == payloadJSON
	default:
		return nil, errPayload(payload)
	}
	if p.maxBytes != 0 && p.maxBytes < minMaxBytes {
		return nil, errors.New(errMaxBytes)
	}
	return p, nil
}

// ProcessBatch returns one batch of envelopes, with the messages that failed between them.
func (p *processor) ProcessBatch(ctx context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	values := p.values(batch)
	out := envelopes{limit: p.limit(), batch: batch, run: make([]envelope.Message, 0, len(batch))}
	if t := p.tap(); t.On() {
		out.tapped = tapped{t, p.res.StreamID()}
	}
	for i, msg := range batch {
		if msg.GetError() != nil {
			out.pass(i)
			continue
		}
		var m envelope.Message
		format, err := values.read(i, &m)
		if err != nil {
			// Benthos counts the error, and logs it at debug level.
			out.fail(msg, err)
			out.pass(i)
			continue
		}
		out.add(i, format, m)
	}
	out.flush()
	if turn := order.Of(batch); turn != nil && !turn.Wait(ctx) {
		p.unordered.Do(func() {
			p.res.Logger().Warn("Something behind iot_trigger holds envelopes back, such as an output with batching: " +
				"in several threads they may overtake each other. Set pipeline.threads to 1, and for larger envelopes the batching of the input")
		})
	}
	return []service.MessageBatch{out.done}, nil
}

// limit is that of an envelope's size.
type limit struct {
	bytes  int // 0: none
	strict bool
}

// limit is the field max_bytes, or else that of the gateways: it ties the size of
// a batch to what they can send. They are not known before the first batch: a
// processor resource is made before them. Whether a message that is too large by
// itself can be sent is for the output to say, which may not be one of a gateway.
func (p *processor) limit() limit {
	if p.maxBytes != 0 {
		return limit{p.maxBytes, true}
	}
	if set, ok := p.res.GetGeneric(gateway.Key); ok {
		return limit{bytes: int(set.(*gateway.Set).MessageBytes())}
	}
	return limit{}
}

// Close has nothing to release.
func (p *processor) Close(context.Context) error { return nil }
