package iottrigger

import (
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
)

const (
	fieldSource     = "source"
	fieldRegistryID = "registry_id"
	fieldDeviceID   = "device_id"
	fieldBrokerID   = "broker_id"
	fieldTopic      = "topic"
	fieldEventID    = "event_id"
	fieldEventType  = "event_type"
	fieldCreatedAt  = "created_at"
	fieldMaxBytes   = "max_bytes"
	fieldPayload    = "payload_format"
)

const (
	sourceAuto   = "auto"
	sourceDevice = string(iotcore.Device)
	sourceBroker = string(iotcore.Broker)
)

const (
	payloadBase64 = "base64"
	payloadJSON   = "json"
)

// minMaxBytes is the least limit that leaves room for a payload: the text around it takes about 300 bytes.
const minMaxBytes = 512

// Spec describes the processor's configuration.
func Spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Stable().
		Version("0.1.0").
		Categories("Integration").
		Summary("Turns a batch of IoT messages into one envelope, the JSON document that clients of an IoT trigger receive.").
		Description(`
An envelope is `+"`{\"messages\":[…]}`"+` with one entry for each message of the batch, oldest first. A message of a device source becomes:

`+"```json"+`
{"event_metadata":{"event_id":"2153b5d2-c6af-4c69-a28d-74ce965b7613","event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"2019-09-25T15:51:17.872320525Z"},"details":{"registry_id":"arenou2oj4ct42eq8g3n","device_id":"areqjd6un3afc3cefcvm","mqtt_topic":"$devices/areqjd6un3afc3cefcvm/events","payload":"VGVzdCA0"}}
`+"```"+`

A message of a broker source has the `+"`details`"+` `+"`broker_id`, `mqtt_topic` and `payload`"+`. The payload is the message's content in base64, whatever it holds, unless `+"`payload_format`"+` is `+"`json`"+`.

After an `+"`iot_mqtt`"+` input no field needs to be set. After any other input, set the fields, or the metadata that they default to.

The processor gathers nothing: the size of an envelope is the size of the batch, so set `+"`batching`"+` on the input. A batch gives more than one envelope, in the order of the messages, when it mixes sources, when `+"`max_bytes`"+` would be passed, or when a message within it fails.

== Metadata

An envelope keeps the metadata of its first message, and adds:

- `+"`iot_event_id`"+`: the event ID of its last message
- `+"`iot_messages`"+`: the number of its messages

== Failures

A message that cannot be written (it is too large, an ID has more than 50 characters, a field's interpolation fails, a time is malformed) or that carries an error already fails alone: it leaves with its content unchanged and its error set, after the envelope of the messages before it, and the other messages go out in envelopes. Treat it with `+"`reject_errored`, `switch` or `catch`"+`, as with any xref:configuration:error_handling.adoc[failed message].
`).
		Fields(fields()...).
		Example("Readings in a web page", "Sends the events of all devices of a registry to every WebSocket connection open on a path, up to ten messages at a time.", `
input:
  iot_mqtt:
    urls: [ tcp://localhost:1883 ]
    registry_id: my-registry
    topics: [ $devices/+/events/# ]
    client_id: iotcast-telemetry
    batching: { count: 10, period: 1s }

pipeline:
  processors:
    - iot_trigger: {}

output:
  websocket_broadcast:
    gateway: main
    path: /telemetry
`).
		Example("Messages from elsewhere", "Writes the same envelopes from a Kafka topic whose keys are device IDs.", `
pipeline:
  processors:
    - iot_trigger:
        source: device
        registry_id: my-registry
        device_id: ${! metadata("kafka_key") }
        topic: $devices/${! metadata("kafka_key") }/events
        created_at: ${! metadata("kafka_timestamp_unix").number().ts_format("2006-01-02T15:04:05.999999999Z07:00", "UTC") }
        max_bytes: 131072
`)
}

func fields() []*service.ConfigField {
	return []*service.ConfigField{
		service.NewStringAnnotatedEnumField(fieldSource, map[string]string{
			sourceAuto:   "By the metadata `iot_source` of each message, which `iot_mqtt` sets; without it `broker` for a message with a broker ID, and else `device`.",
			sourceDevice: "The entries have `registry_id` and `device_id`.",
			sourceBroker: "The entries have `broker_id`.",
		}).
			Description("Whose messages these are: it decides the format of the entries.").
			Default(sourceAuto).
			Example(sourceBroker),
		idField(fieldRegistryID, "The ID of the registry, for a device source.", metakey.RegistryID, "my-registry"),
		idField(fieldDeviceID, "The ID of the sending device, for a device source.", metakey.DeviceID, `${! metadata("kafka_key") }`).
			Description("The ID of the sending device, for a device source. When empty: the metadata `" + metakey.DeviceID + "`, and without it the device in the topic, if it is one that only the device publishes to."),
		idField(fieldBrokerID, "The ID of the broker, for a broker source.", metakey.BrokerID, "my-broker"),
		idField(fieldTopic, "The topic as published.", metakey.Topic, `$devices/${! metadata("kafka_key") }/events`),
		service.NewInterpolatedStringField(fieldEventID).
			Description("The unique ID of the message. When empty, or when it resolves to nothing: the metadata `" + metakey.EventID + "`, and without it a new UUID of version 7, which is also set as this metadata.").
			Default("").
			Example(`${! json("id") }`),
		service.NewInterpolatedStringField(fieldEventType).
			Description("The type of the event. Clients of the original service expect the default.").
			Default(envelope.DefaultEventType).
			Example("com.example.reading"),
		service.NewInterpolatedStringField(fieldCreatedAt).
			Description("When the message was created, in RFC 3339; it is written in UTC. When empty: the metadata `" + metakey.ReceivedAt + "`, and without it the present time.").
			Default("").
			Example(`${! json("time") }`).
			Example(`${! now() }`),
		service.NewStringAnnotatedEnumField(fieldPayload, map[string]string{
			payloadBase64: "The field `payload` has base64, whatever the payload holds: the format of the original service.",
			payloadJSON:   "The field `payload` has the payload itself if it is JSON (RFC 8259) in UTF-8, with at most 60 levels, and a space for each line break. Any other payload, an empty one too, is in base64 in `payload_base64` instead.",
		}).
			Description("How the entries carry payloads. Clients of the original service expect `base64`. Pages that use `iotcast.js` set its option `payloadFormat` to the same value: a JSON string cannot be told from base64.").
			Default(payloadBase64).
			Example(payloadJSON),
		service.NewIntField(fieldMaxBytes).
			Description("The largest envelope, in bytes: a batch that would make a larger one goes out as several, and a message too large for any fails. Set it to the largest message that the clients accept. 0 means the smallest `queue_bytes` of the gateways of this process, so that `websocket_broadcast` can send the envelopes of any batch; then a message too large for any makes one of its own, and the output says whether it can be sent. Where there are no gateways, 0 means no limit.").
			Default(0).
			Example(131072).
			LintRule(fmt.Sprintf(`root = if this.type() == "number" && this != 0 && this < %d { [ %q ] }`, minMaxBytes, errMaxBytes)),
	}
}

// idField is a field that defaults to one metadata key.
func idField(name, description, meta, example string) *service.ConfigField {
	return service.NewInterpolatedStringField(name).
		Description(description + " When empty: the metadata `" + meta + "`.").
		Default("").
		Example(example)
}

var errMaxBytes = fmt.Sprintf("%s must be 0, for the limit of the gateways, or at least %d: the text around a payload takes about 300 bytes", fieldMaxBytes, minMaxBytes)

func errPayload(format string) error {
	return fmt.Errorf("%s is %q: it must be %s or %s", fieldPayload, format, payloadBase64, payloadJSON)
}

func errSource(source string) error {
	return fmt.Errorf("%s is %q: it must be %s, %s or %s", fieldSource, source, sourceAuto, sourceDevice, sourceBroker)
}
