// Package websocketconnection is the processor websocket_connection.
package websocketconnection

import (
	"context"
	"errors"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/gateway"
)

const fieldAccount = "service_account_id"

func init() {
	service.MustRegisterProcessor("websocket_connection", Spec(), func(conf *service.ParsedConfig, res *service.Resources) (service.Processor, error) {
		return newProcessor(conf, res)
	})
}

// Spec describes the processor's configuration.
func Spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Stable().
		Version("0.1.0").
		Categories("Services").
		Summary("Sees, addresses or closes a WebSocket connection of this process, lists them, or broadcasts to a path.").
		Description(`
A message asks for what is to be done, and is replaced by the answer:

`+"```json"+`
{"method":"get","connection_id":"a-01970f3e-0000-7000-8000-000000000001"}
{"method":"send","connection_id":"a-01970f3e-0000-7000-8000-000000000001","text":true,"data":"SGVsbG8="}
{"method":"disconnect","connection_id":"a-01970f3e-0000-7000-8000-000000000001"}
{"method":"list","query":{"gateways":["main"],"path":"/telemetry","source_ip":"192.0.2.1","after":"","limit":100}}
{"method":"broadcast","gateway":"main","path":"/telemetry","text":true,"data":"SGVsbG8="}
`+"```"+`

`+"`data`"+` is the message for the client in base64; with `+"`text`"+` it is a text message, and must be UTF-8, else a binary one. A list begins behind the connection ID `+"`after`"+`, has at most `+"`limit`"+` connections (1 to 1001), and needs no `+"`path`"+`, `+"`source_ip`"+`, `+"`device_id`"+` (that has been chosen) or `+"`subject`"+` (of the token).

`+"```json"+`
{"status":200,"connection":{"id":"a-01970f3e-0000-7000-8000-000000000001","gateway":"main","path":"/telemetry","source_ip":"192.0.2.1","user_agent":"","connected_at":"2019-09-25T15:51:17Z","last_active_at":"2019-09-25T15:51:17Z","subject":"alice","watch":{"device_ids":["boiler"],"topics":[]},"queued_bytes":512,"dropped":3,"protocol":"websocket"}}
{"status":200,"connections":[]}
{"status":200,"sent":2}
{"status":404,"error":"not found"}
`+"```"+`

A connection without `+"`watch`"+` gets everything. What is zero or empty is left out.

The status is 400 for what cannot be understood, 403 where a role is missing, 404 for a connection that is not open or a path that there is not, 413 for a message that is larger than may wait for the connection, and 500 for what the log explains. The processor itself does not fail.

With it a node of a cluster answers what the `+"`connection_api`"+` of another forwards, as in the example.
`).
		Field(service.NewStringField(fieldAccount).
			Description("The service account in whose name this is done. If the gateway has `access_bindings`, it needs the role `api-gateway.viewer` there to see connections, `api-gateway.websocketWriter` to send to one or to close it, and `api-gateway.websocketBroadcaster` to broadcast. The `connection_api` that forwards has asked for the caller's own roles.").
			Default("").
			Example("nodes")).
		Example("A node of a cluster", "Answers the requests that come to its name.", `
input:
  nats:
    urls: [ nats://localhost:4222 ]
    subject: 'iotcast.connections.${NODE_ID:a}'
    send_ack: false

pipeline:
  processors:
    - websocket_connection: {}

output:
  nats:
    urls: [ nats://localhost:4222 ]
    subject: ${! metadata("nats_reply_subject") }
`)
}

// processor implements service.Processor.
type processor struct {
	res     *service.Resources
	account string
}

var _ service.Processor = (*processor)(nil)

func newProcessor(conf *service.ParsedConfig, res *service.Resources) (*processor, error) {
	account, err := conf.FieldString(fieldAccount)
	return &processor{res: res, account: account}, err
}

// Process implements service.Processor.
func (p *processor) Process(ctx context.Context, m *service.Message) (service.MessageBatch, error) {
	set, ok := p.res.GetGeneric(gateway.Key)
	if !ok {
		return nil, errors.New("this process has no websocket_gateways: run the config with iotcast, or with a binary that uses plugins.Options")
	}
	request, err := m.AsBytes()
	if err != nil {
		return nil, err
	}
	local := connections.Local(set.(*gateway.Set))
	m.SetBytes(connections.Answer(ctx, local, request, func(gateway string, role access.Role) error {
		if bindings := local.Bindings()[gateway]; !bindings.Allows(p.account, role) {
			return fmt.Errorf("%s %q lacks the role %s on gateway %q: add it to access_bindings there", fieldAccount, p.account, role, gateway)
		}
		return nil
	}))
	return service.MessageBatch{m}, nil
}

// Close has nothing to release.
func (p *processor) Close(context.Context) error { return nil }
