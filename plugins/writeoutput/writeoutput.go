// Package writeoutput is the processor write_output.
package writeoutput

import (
	"context"
	"errors"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"
)

const fieldResource = "resource"

const errNoResource = "resource must not be empty: it is the label of one of the output_resources"

func init() {
	service.MustRegisterBatchProcessor("write_output", Spec(), func(conf *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
		return newProcessor(conf, res)
	})
}

// Spec describes the processor's configuration.
func Spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Stable().
		Version("0.1.0").
		Categories("Utility").
		Summary("Writes messages to an output resource, and passes them on as they are once the output has accepted them.").
		Description(`
With it the handler `+"`on_message`"+` of `+"`websocket_gateways`"+` can turn a client's command into an MQTT message, or any pipeline can write on its way.

A batch is written as a batch. If the output does not accept it, each of its messages is marked as failed, and `+"`catch`"+` can treat them; messages that had failed before are passed on and not written. The processor waits for the output, and in a handler not longer than its `+"`handler_timeout`"+`: a message that was given up in this way may still be written later.

To write something other than what is passed on, put the processor in a `+"`branch`"+`.
`).
		Field(service.NewStringField(fieldResource).
			Description("The label of the output resource, one of the `output_resources`.").
			Example("commands").
			LintRule(`root = if this == "" { [ "`+errNoResource+`" ] }`)).
		Example("Commands from a page", "What a client sends is published, and the client is told so.", `
websocket_gateways:
  - label: main
    address: 127.0.0.1:8080
    routes:
      - path: /commands
        on_message:
          - write_output: { resource: commands }
          - mapping: 'root = {"sent": error() == null, "error": error()}'

output_resources:
  - label: commands
    mqtt:
      urls: [ tcp://localhost:1883 ]
      topic: $registries/my-registry/commands
`)
}

// processor is safe for concurrent use.
type processor struct {
	res      *service.Resources
	resource string
}

var _ service.BatchProcessor = (*processor)(nil)

func newProcessor(conf *service.ParsedConfig, res *service.Resources) (*processor, error) {
	p := &processor{res: res}
	var err error
	if p.resource, err = conf.FieldString(fieldResource); err != nil {
		return nil, err
	}
	switch {
	case p.resource == "":
		return nil, errors.New(errNoResource)
	case !res.HasOutput(p.resource):
		return nil, fmt.Errorf("%s: there is no output resource %q: add it to output_resources of the root config, or to a file for -r", fieldResource, p.resource)
	}
	return p, nil
}

// ProcessBatch returns the messages that it was given.
func (p *processor) ProcessBatch(ctx context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	var good, copies service.MessageBatch
	for _, m := range batch {
		if m.GetError() == nil {
			good = append(good, m)
			copies = append(copies, m.Copy()) // the output may change it, at any time
		}
	}
	if len(good) > 0 {
		if err := p.write(ctx, copies); err != nil {
			err = fmt.Errorf("writing to output %q: %w", p.resource, err)
			for _, m := range good {
				m.SetError(err)
			}
		}
	}
	return []service.MessageBatch{batch}, nil
}

// write returns when the output has accepted the batch, or has not, or ctx ends.
func (p *processor) write(ctx context.Context, batch service.MessageBatch) error {
	done := make(chan error, 1)
	go func() { // Benthos waits for the output's answer, whatever becomes of ctx
		var err error
		accessErr := p.res.AccessOutput(ctx, p.resource, func(o *service.ResourceOutput) { err = o.WriteBatch(ctx, batch) })
		done <- errors.Join(accessErr, err)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close has nothing to release.
func (p *processor) Close(context.Context) error { return nil }
