package websocketbroadcast

import (
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/fanout"
)

const (
	fieldGateway       = "gateway"
	fieldPath          = "path"
	fieldMessageType   = "message_type"
	fieldNoConnections = "no_connections"
	fieldEventID       = "event_id"
	fieldAccount       = "service_account_id"
)

const (
	messageText   = "text"
	messageBinary = "binary"

	noConnectionsDrop   = "drop"
	noConnectionsWait   = "wait"
	noConnectionsReject = "reject"
)

// Spec describes the output's configuration.
func Spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Stable().
		Version("0.1.0").
		Categories("Services").
		Summary("Sends each message to every WebSocket connection that is open on a path of a gateway.").
		Description(`
The gateway stands in the top-level field `+"`websocket_gateways`"+`, of the same config, or in streams mode of the root config (`+"`-o`"+`). Connections belong to it: they stay open when this output's stream ends, and receive from the next one.

A message is accepted once it is queued for every connection; a connection that reads slowly holds up neither the others nor the stream. What happens to it says `+"`slow_consumer`"+` of the gateway.

A message that failed in the pipeline is not sent: it is logged, counted in the metric `+"`websocket_broadcast_failed`"+` and given up. To keep such messages, treat them before this output, with `+"`reject_errored`, `switch` or `fallback`"+`.

A message that can never be sent, because it is larger than `+"`queue_bytes`"+` of the gateway allows or is to be text and is not UTF-8, is rejected: an output that stands behind this one in a `+"`fallback`"+` gets it. Without one, an `+"`iot_mqtt`"+` input logs it with the reason, counts it in `+"`iot_mqtt_rejected`"+`, and goes on.

== Metrics

- `+"`websocket_broadcast_no_connections`"+`: messages dropped because no connection was open
- `+"`websocket_broadcast_failed`"+`: messages given up because they had failed in the pipeline
- `+"`websocket_broadcast_rejected`"+`: messages rejected because they can never be sent

Connections and deliveries are counted by the gateway: see the reference of `+"`websocket_gateways`"+`.
`).
		Fields(
			service.NewStringField(fieldGateway).
				Description("The label of the gateway.").
				Example("main").
				LintRule(`root = if this == "" { [ "gateway must not be empty: it is the label of one of the websocket_gateways" ] }`),
			service.NewStringField(fieldPath).
				Description("The path of one of the gateway's routes.").
				Example("/telemetry").
				LintRule(`root = if !this.has_prefix("/") { [ "path \"%s\" must begin with /".format(this) ] }`),
			service.NewStringAnnotatedEnumField(fieldMessageType, map[string]string{
				messageText:   "Text messages. The content must be UTF-8, as envelopes are.",
				messageBinary: "Binary messages.",
			}).
				Description("The type of the WebSocket messages.").
				Default(messageText).
				Example(messageBinary),
			service.NewStringAnnotatedEnumField(fieldNoConnections, map[string]string{
				noConnectionsDrop:   "Drop the message, and count it.",
				noConnectionsWait:   "Wait until there is a connection. Meanwhile the stream stands still, and its input keeps what comes.",
				noConnectionsReject: "Fail, so that the input sends the message again later, or a `fallback` output takes it.",
			}).
				Description("What to do with a message while no connection is open on the path. A route with a `history` keeps it for those that come back, whatever stands here.").
				Default(noConnectionsDrop).
				Example(noConnectionsWait),
			service.NewInterpolatedStringField(fieldEventID).
				Description("The ID by which a client that comes back names this message, as the last that it has seen; see `history` of the route. By default the metadata `iot_event_id`, which `iot_trigger` sets.").
				Optional().
				Example(`${! json("messages").index(-1).event_metadata.event_id }`).
				Advanced(),
			service.NewStringField(fieldAccount).
				Description("The service account in whose name to broadcast. If the gateway has `access_bindings`, it needs the role `api-gateway.websocketBroadcaster` there, or the stream is refused.").
				Default("").
				Example("telemetry-trigger"),
			service.NewOutputMaxInFlightField().
				Description("How many batches may be sent at the same time. More than one gives up their order.").
				Default(1),
		).
		Example("A trigger", "The envelopes of a registry's devices, to every page that has connected.", `
input:
  iot_mqtt:
    urls: [ tcp://localhost:1883 ]
    registry_id: my-registry

pipeline:
  processors:
    - iot_trigger: {}

output:
  websocket_broadcast:
    gateway: main
    path: /telemetry
`)
}

func opcodeOf(messageType string) (fanout.Opcode, error) {
	switch messageType {
	case messageText:
		return fanout.Text, nil
	case messageBinary:
		return fanout.Binary, nil
	}
	return 0, fmt.Errorf("%s must be %s or %s, not %q", fieldMessageType, messageText, messageBinary, messageType)
}
