// Package websocketbroadcast is the output websocket_broadcast.
package websocketbroadcast

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/redpanda-data/benthos/v4/public/service"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
	"github.com/iotcast/iotcast/plugins/internal/order"
	"github.com/iotcast/iotcast/plugins/internal/permanent"
	"github.com/iotcast/iotcast/plugins/internal/tapping"
)

func init() {
	service.MustRegisterBatchOutput("websocket_broadcast", Spec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
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
	account       string
	opcode        fanout.Opcode
	noConnections string
	eventID       *service.InterpolatedString // nil: the metadata that iot_trigger sets
	route         atomic.Pointer[gateway.Route]
	place         *order.Output
	tapped        tapped

	noRecipient *service.MetricCounter
	failed      *service.MetricCounter
	rejected    *service.MetricCounter
}

var (
	_ service.BatchOutput        = (*output)(nil)
	_ service.ConnectionTestable = (*output)(nil)
)

func newOutput(conf *service.ParsedConfig, res *service.Resources) (*output, error) {
	o := &output{
		res:         res,
		noRecipient: res.Metrics().NewCounter("websocket_broadcast_no_connections"),
		failed:      res.Metrics().NewCounter("websocket_broadcast_failed"),
		rejected:    res.Metrics().NewCounter("websocket_broadcast_rejected"),
	}
	for _, counter := range []*service.MetricCounter{o.noRecipient, o.failed, o.rejected} {
		counter.Incr(0) // to Prometheus, one that appears with a 1 has not increased
	}
	var err error
	for name, to := range map[string]*string{
		fieldGateway: &o.gateway, fieldPath: &o.path, fieldNoConnections: &o.noConnections, fieldAccount: &o.account,
	} {
		if *to, err = conf.FieldString(name); err != nil {
			return nil, err
		}
	}
	if conf.Contains(fieldEventID) {
		if o.eventID, err = conf.FieldInterpolatedString(fieldEventID); err != nil {
			return nil, err
		}
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
		if _, err = o.currentRoute(); err != nil {
			return nil, err
		}
	}
	o.place = order.StreamOf(res).AddOutput()
	o.tapped = tapped{of: tapping.Once(res), stream: res.StreamID(), gateway: o.gateway, path: o.path}
	return o, nil
}

func (o *output) findRoute() (*gateway.Route, error) {
	set, ok := o.res.GetGeneric(gateway.Key)
	if !ok {
		return nil, errors.New("this process has no websocket_gateways: run the config with iotcast, or with a binary that uses plugins.Options")
	}
	return set.(*gateway.Set).Route(o.gateway, o.path)
}

// currentRoute is the route as it is now: routes come, go and change while the process
// runs.
func (o *output) currentRoute() (route *gateway.Route, err error) {
	if route = o.route.Load(); route == nil || route.Removed() {
		if route, err = o.findRoute(); err != nil {
			return nil, err
		}
		o.route.Store(route)
	}
	if !route.Bindings().Allows(o.account, access.Broadcaster) {
		return nil, fmt.Errorf("%s %q lacks the role %s on gateway %q: add it to access_bindings there", fieldAccount, o.account, access.Broadcaster, o.gateway)
	}
	return route, nil
}

// Connect implements service.BatchOutput.
func (o *output) Connect(context.Context) error {
	route, err := o.currentRoute()
	if err != nil {
		return err
	}
	if err := route.Err(); err != nil {
		return err
	}
	o.place.Ready(true)
	return nil
}

// ConnectionTest implements service.ConnectionTestable: the route is there, and
// its gateway listens.
func (o *output) ConnectionTest(context.Context) service.ConnectionTestResults {
	route, err := o.currentRoute()
	if err == nil {
		err = route.Err()
	}
	if err != nil {
		return service.ConnectionTestFailed(err).AsList()
	}
	return service.ConnectionTestSucceeded().AsList()
}

// WriteBatch broadcasts each message of the batch. It waits for no socket, but
// for a while when the batch is larger than what may wait for one: a message
// counts as sent once it is queued for every connection.
//
// One that can never be sent does not hold up those behind it; the error tells
// which they were, for a fallback. Any other error is that of the whole batch:
// after a processor that makes fewer messages of a batch, Benthos cannot tell
// which of the input's one is about. What was sent before is not sent again when
// the batch comes again.
func (o *output) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	turn, done := o.place.Take(batch)
	defer done()
	route, err := o.currentRoute()
	switch {
	case err != nil: // it may be there again later, and a fallback has the batch meanwhile
		return err
	case route.Err() != nil && !route.Removed():
		o.place.Ready(false)
		return service.ErrNotConnected
	}
	var rejected *service.BatchError
	pace := pace{route: route}
	for i, m := range batch {
		if err := m.GetError(); err != nil {
			// What failed in the pipeline is not what clients expect. It must not
			// stop the trigger either: a stream that wants to keep it catches it
			// before, with reject_errored, switch or fallback.
			o.failed.Incr(1)
			o.res.Logger().With("error", err.Error(), "gateway", o.gateway, "path", o.path).
				Error("A message failed before it could be broadcast and is given up: handle it with reject_errored, switch or catch")
			o.tapped.lost(m, err)
			continue
		}
		out, err := o.message(m, route)
		if err != nil {
			o.rejected.Incr(1)
			o.tapped.refused(m, err, order.Of(batch[i:]) != nil)
			err = permanent.Error(err)
			if rejected == nil {
				rejected = service.NewBatchError(batch, err)
			}
			rejected = rejected.Failed(i, err)
			continue
		}
		if t := order.Of(batch[i:]); t != nil && t.WasSent(o.place, out.ID) {
			continue
		}
		pace.wait(ctx, out)
		if err := o.broadcast(ctx, turn, route, out, o.tapped.follow(m, &out)); err != nil {
			o.tapped.rejected(m, err)
			o.noteSent(batch[:i], route)
			return err
		}
		o.trace(m, route, out)
	}
	if rejected != nil {
		return rejected
	}
	return nil
}

// noteSent is for the part of a batch that is sent when the rest is not.
func (o *output) noteSent(batch service.MessageBatch, route *gateway.Route) {
	for i, m := range batch {
		turn := order.Of(batch[i:])
		if turn == nil || m.GetError() != nil {
			continue
		}
		if out, err := o.message(m, route); err == nil && out.ID != "" {
			turn.NoteSent(o.place, out.ID)
		}
	}
}

// message is what to broadcast for a Benthos message. It fails for one that can
// never be sent.
func (o *output) message(m *service.Message, route *gateway.Route) (out fanout.Message, err error) {
	out.Opcode = o.opcode
	if out.Payload, err = m.AsBytes(); err != nil {
		return out, fmt.Errorf("reading the message to broadcast: %w", err)
	}
	if out.Opcode == fanout.Text && !utf8.Valid(out.Payload) {
		// Clients would have to fail their connections (RFC 6455, section 8.1).
		return out, fmt.Errorf("the message is not UTF-8, and %s is text", fieldMessageType)
	}
	if limit := route.MessageBytes(); int64(len(out.Payload)) > limit {
		return out, fmt.Errorf("the message has %d bytes, and queue_bytes of gateway %q lets %d wait for a connection", len(out.Payload), o.gateway, limit)
	}
	if o.eventID == nil {
		out.ID, _ = m.MetaGet(metakey.EventID)
	} else if out.ID, err = o.eventID.TryString(m); err != nil {
		return out, fmt.Errorf("%s: %w", fieldEventID, err)
	}
	switch at, _ := m.MetaGetMut(metakey.ReceivedAt); at := at.(type) {
	case time.Time:
		out.Received = at
	case string: // from another process
		out.Received, _ = time.Parse(time.RFC3339Nano, at)
	}
	return out, nil
}

// trace notes the broadcast in the message's span.
func (o *output) trace(m *service.Message, route *gateway.Route, out fanout.Message) {
	span := trace.SpanFromContext(m.Context())
	if !span.IsRecording() {
		return
	}
	span.AddEvent("broadcast", trace.WithAttributes(
		attribute.String("gateway", o.gateway), attribute.String("path", o.path), attribute.String("event_id", out.ID),
		attribute.Int("bytes", len(out.Payload)), attribute.Int("connections", route.Connections()),
	))
}

func (o *output) broadcast(ctx context.Context, turn *order.Turn, route *gateway.Route, m fanout.Message, f *followed) error {
	for {
		at := f.now()
		n, err := route.Broadcast(m)
		if err != nil {
			return err
		}
		if n > 0 || route.Keeps() { // for those that come back
			f.broadcast(at, n)
			return nil
		}
		switch o.noConnections {
		case noConnectionsWait:
			if err := o.wait(ctx, turn, route); err != nil {
				return fmt.Errorf("waiting for a connection on path %s: %w", o.path, err)
			}
		case noConnectionsReject:
			return fmt.Errorf("no connection is open on path %s of gateway %q, and no_connections is reject", o.path, o.gateway)
		default:
			o.noRecipient.Incr(1)
			f.noConnections()
			return nil
		}
	}
}

// wait returns when a connection is open, or the route is removed, or with an error when the stream is to
// end: the input's, if it tells, since Benthos does not end an output that is
// busy.
func (o *output) wait(ctx context.Context, turn *order.Turn, route *gateway.Route) error {
	if turn == nil {
		return route.WaitForConnection(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(turn.Ended(), cancel)()
	return route.WaitForConnection(ctx)
}

// Close implements service.BatchOutput. The connections stay: they belong to
// the gateway.
func (o *output) Close(context.Context) error {
	o.place.Close()
	return nil
}
