// Package websocketbroadcast is the output websocket_broadcast.
package websocketbroadcast

import (
	"context"
	"errors"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"iotcast/internal/fanout"
	"iotcast/internal/gateway"
	"iotcast/plugins/internal/order"
)

func init() {
	service.MustRegisterBatchOutput("websocket_broadcast", Spec(), func(conf *service.ParsedConfig, res *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
		inFlight, err := conf.FieldMaxInFlight()
		if err != nil {
			return nil, service.BatchPolicy{}, 0, err
		}
		out, err := newOutput(conf, res)
		return out, service.BatchPolicy{}, inFlight, err
	})
}

// output implements service.BatchOutput.
type output struct {
	res           *service.Resources
	gateway, path string
	opcode        fanout.Opcode
	noConnections string
	route         *gateway.Route
	stream        *order.Stream
	connected     bool

	noRecipient *service.MetricCounter
	failed      *service.MetricCounter
}

var _ service.BatchOutput = (*output)(nil)

func newOutput(conf *service.ParsedConfig, res *service.Resources) (*output, error) {
	o := &output{
		res:         res,
		stream:      order.StreamOf(res),
		noRecipient: res.Metrics().NewCounter("websocket_broadcast_no_connections"),
		failed:      res.Metrics().NewCounter("websocket_broadcast_failed"),
	}
	var err error
	if o.gateway, err = conf.FieldString(fieldGateway); err != nil {
		return nil, err
	}
	if o.path, err = conf.FieldString(fieldPath); err != nil {
		return nil, err
	}
	if o.noConnections, err = conf.FieldString(fieldNoConnections); err != nil {
		return nil, err
	}
	messageType, err := conf.FieldString(fieldMessageType)
	if err != nil {
		return nil, err
	}
	if o.opcode, err = opcodeOf(messageType); err != nil {
		return nil, err
	}
	// An output resource is made before the gateways are: it finds its route when
	// it connects. The output of a stream is made after them, and fails at once.
	if _, ok := res.GetGeneric(gateway.Key); ok {
		if err := o.findRoute(); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *output) findRoute() error {
	set, ok := o.res.GetGeneric(gateway.Key)
	if !ok {
		return errors.New("this process has no websocket_gateways: run the config with iotcast, or with a binary that uses plugins.Options")
	}
	var err error
	o.route, err = set.(*gateway.Set).Route(o.gateway, o.path)
	return err
}

// Connect implements service.BatchOutput.
func (o *output) Connect(context.Context) error {
	if o.route == nil {
		if err := o.findRoute(); err != nil {
			return err
		}
	}
	if !o.connected {
		o.connected = true
		o.stream.AddOutput(1)
	}
	return nil
}

// WriteBatch broadcasts each message of the batch. It waits for no socket: a
// message counts as sent once it is queued for every connection.
//
// An error is always that of the whole batch: after a processor that makes fewer
// messages of a batch, Benthos cannot tell which of the input's one is about.
func (o *output) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	turn := order.Of(batch)
	if turn != nil {
		turn.Taken()
	}
	for _, m := range batch {
		if err := m.GetError(); err != nil {
			// What failed in the pipeline is not what clients expect. It must not
			// stop the trigger either: a stream that wants to keep it catches it
			// before, with reject_errored, switch or fallback.
			o.failed.Incr(1)
			o.res.Logger().With("error", err.Error(), "gateway", o.gateway, "path", o.path).
				Error("A message failed before it could be broadcast and is given up: handle it with reject_errored, switch or catch")
			continue
		}
		payload, err := m.AsBytes()
		if err != nil {
			return fmt.Errorf("reading the message to broadcast: %w", err)
		}
		if err := o.broadcast(ctx, turn, payload); err != nil {
			return err
		}
	}
	return nil
}

func (o *output) broadcast(ctx context.Context, turn *order.Turn, payload []byte) error {
	for o.route.Broadcast(o.opcode, payload) == 0 {
		switch o.noConnections {
		case noConnectionsWait:
			if err := o.wait(ctx, turn); err != nil {
				return fmt.Errorf("waiting for a connection on path %s: %w", o.path, err)
			}
		case noConnectionsReject:
			return fmt.Errorf("no connection is open on path %s of gateway %q, and no_connections is reject", o.path, o.gateway)
		default:
			o.noRecipient.Incr(1)
			return nil
		}
	}
	return nil
}

// wait returns when a connection is open, or with an error when the stream is to
// end: the input's, if it tells, since Benthos does not end an output that is
// busy.
func (o *output) wait(ctx context.Context, turn *order.Turn) error {
	if turn == nil {
		return o.route.WaitForConnection(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(turn.Ended(), cancel)()
	return o.route.WaitForConnection(ctx)
}

// Close implements service.BatchOutput. The connections stay: they belong to
// the gateway.
func (o *output) Close(context.Context) error {
	if o.connected {
		o.connected = false
		o.stream.AddOutput(-1)
	}
	return nil
}
