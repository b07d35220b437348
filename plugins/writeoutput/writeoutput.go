// Package writeoutput is the processor write_output.
package writeoutput

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/plugins/internal/duration"
)

const (
	fieldResource = "resource"
	fieldTimeout  = "timeout"
)

const errNoResource = "resource must not be empty: it is the label of one of the output_resources"

var errTimeout = errors.New("no answer from the output in time: it may still accept the message later")

func init() {
	service.MustRegisterBatchProcessor("write_output", Spec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchProcessor, error) {
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

A batch is written as a batch. If the output does not accept it, each of its messages is marked as failed, and `+"`catch`"+` can treat them; messages that had failed before are passed on and not written.

To write something other than what is passed on, put the processor in a `+"`branch`"+`.
`).
		Fields(
			service.NewStringField(fieldResource).
				Description("The label of the output resource, one of the `output_resources`.").
				Example("commands").
				LintRule(`root = if this == "" { [ "`+errNoResource+`" ] }`),
			duration.Field(fieldTimeout).
				Description("How long to wait for the output to accept a message. After that the message counts as failed, though the output may still write it later. In a handler, keep it below `handler_timeout`, so that there is time left to say so. `0s` means to wait for as long as it takes.").
				Default("5s").
				Example("0s"),
		).
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
	timeout  time.Duration
}

var _ service.BatchProcessor = (*processor)(nil)

func newProcessor(conf *service.ParsedConfig, res *service.Resources) (*processor, error) {
	p := &processor{res: res}
	var err error
	if p.resource, err = conf.FieldString(fieldResource); err != nil {
		return nil, err
	}
	if p.timeout, err = duration.Of(conf, fieldTimeout); err != nil {
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

// write returns when the output has accepted the batch, or has not, or time is
// over.
func (p *processor) write(ctx context.Context, batch service.MessageBatch) error {
	if p.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.timeout, errTimeout)
		defer cancel()
	}
	done := make(chan error, 1)
	go func() { // Benthos waits for the output's answer, whatever becomes of ctx
		var err error
		accessErr := p.res.AccessOutput(ctx, p.resource, func(o *service.ResourceOutput) { err = o.WriteBatch(ctx, batch) })
		done <- errors.Join(accessErr, err)
	}()
	select {
	case err := <-done:
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx) // which the output's own error only follows
		}
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close has nothing to release.
func (p *processor) Close(context.Context) error { return nil }
