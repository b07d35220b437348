package envelopelog

import (
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/plugins/internal/duration"
	"github.com/iotcast/iotcast/plugins/internal/natsconfig"
)

const (
	fieldSubject    = "subject"
	fieldEventID    = "event_id"
	fieldAckTimeout = "ack_timeout"
)

// OutputSpec describes the output's configuration.
func OutputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Beta().
		Version("0.1.0").
		Categories("Services").
		Summary("Stores each message in a log that gateways read, a stream of NATS JetStream: fast, in order, and acknowledged when it is stored.").
		Description(`
The input `+"`envelope_log`"+` reads what this output has stored: all of it, in the same order on every node, each message once.

Many batches are on their way to NATS at a time (`+"`max_in_flight`"+`), and each is acknowledged when a majority of the `+"`replicas`"+` has stored it. The order is that in which `+"`iot_mqtt`"+` has read, whatever becomes of NATS' servers and connections meanwhile. Batches of other inputs keep theirs with `+"`max_in_flight: 1`"+`.

When NATS is away, or does not store, the output waits until it does: nothing is rejected, and `+"`strict_order`"+` of `+"`iot_mqtt`"+` is not needed. What was on its way is stored again. The stream may then have copies, which the input `+"`envelope_log`"+` leaves out by the header `+"`Iotcast-Position`"+`, and other readers do not.

A message that is larger than `+"`max_payload`"+` of the NATS server, or `+"`max_msg_size`"+` of the stream, can never be stored: it is rejected, alone, and an output behind this one in a `+"`fallback`"+` gets it. One that failed in the pipeline is logged, counted and given up, as by `+"`websocket_broadcast`"+`.

== Permissions

A user that stores needs to publish to `+"`subject`"+` and to subscribe to `+"`<inbox_prefix>.>`"+`; and with `+"`stream_settings`"+` to publish to `+"`$JS.API.STREAM.INFO.<stream>`"+` and `+"`$JS.API.STREAM.CREATE.<stream>`"+`.

== Metrics

- `+"`envelope_log_stored`"+`: messages that are stored and acknowledged
- `+"`envelope_log_unconfirmed`"+`: messages that are on their way
- `+"`envelope_log_published_again`"+`: messages that were published once more, since NATS did not store them, or not in order
- `+"`envelope_log_rejected`"+`: messages rejected because they can never be stored
- `+"`envelope_log_failed`"+`: messages given up because they had failed in the pipeline
- `+"`envelope_log_store_latency_ns`"+`: the time from a batch's turn to its acknowledgement
`).
		Field(natsconfig.Servers()).
		Fields(
			streamField(),
			service.NewStringField(fieldSubject).
				Description("The subject to store under. Give each route of the gateways one of its own, so that each reads what it sends and no more.").
				Example("iotcast.envelopes.telemetry").
				LintRule(`root = if !this.re_match("^[^\\s.*>]+(\\.[^\\s.*>]+)*$") { [ "subject must be words with dots between them and no wildcards, such as iotcast.envelopes.telemetry" ] }`),
			service.NewInterpolatedStringField(fieldEventID).
				Description("The ID by which a client that comes back names this message; see `history` of the gateway's route. It travels in the header `iot_event_id`. By default the metadata `iot_event_id`, which `iot_trigger` sets.").
				Optional().
				Example(`${! json("messages").index(-1).event_metadata.event_id }`).
				Advanced(),
			settingsField(),
			duration.Field(fieldAckTimeout).
				Description("How long NATS may take to say that a message is stored, before it is stored again. More than 0s.").
				Default("5s").
				Example("2s").
				Advanced(),
			service.NewOutputMaxInFlightField().
				Description("How many batches may be on their way to NATS at a time. They keep their order.").
				Default(512).
				Example(64),
		).
		Fields(natsconfig.Security()...).
		Example("A trigger of a cluster", "The envelopes of a registry's devices, stored three times, for gateways on other machines.", `
input:
  iot_mqtt:
    urls: [ tcp://localhost:1883 ]
    registry_id: my-registry
    client_id: iotcast-trigger
    clean_session: false

pipeline:
  processors:
    - iot_trigger:
        max_bytes: 1000000

output:
  envelope_log:
    urls: [ nats://localhost:4222 ]
    stream: iotcast
    subject: iotcast.envelopes.telemetry
    stream_settings:
      subjects: [ iotcast.envelopes.> ]
      replicas: 3
      max_age: 5m
`)
}

type outputConfig struct {
	connection natsconfig.Connection
	stream     string
	subject    string
	eventID    *service.InterpolatedString // nil: the metadata that iot_trigger sets
	settings   settings
	ackTimeout time.Duration
}

func parseOutput(conf *service.ParsedConfig, res *service.Resources) (c outputConfig, err error) {
	if c.connection, err = natsconfig.Parse(conf, "iotcast "+res.Label()); err != nil {
		return c, err
	}
	if c.stream, err = parseStream(conf); err != nil {
		return c, err
	}
	if c.subject, err = conf.FieldString(fieldSubject); err != nil {
		return c, err
	}
	if err := checkSubject(c.subject, false); err != nil {
		return c, fmt.Errorf("field %s: %w", fieldSubject, err)
	}
	if conf.Contains(fieldEventID) {
		if c.eventID, err = conf.FieldInterpolatedString(fieldEventID); err != nil {
			return c, err
		}
	}
	if c.settings, err = parseSettings(conf.Namespace(fieldSettings), c.stream, c.subject); err != nil {
		return c, err
	}
	if c.ackTimeout, err = duration.Of(conf, fieldAckTimeout); err == nil && c.ackTimeout == 0 {
		err = fmt.Errorf("%s must be more than 0s", fieldAckTimeout)
	}
	return c, err
}

func parseStream(conf *service.ParsedConfig) (string, error) {
	name, err := conf.FieldString(fieldStream)
	if err == nil && !streamName.MatchString(name) {
		err = fmt.Errorf("field %s: %q must be a name without spaces, dots, slashes and wildcards", fieldStream, name)
	}
	return name, err
}
