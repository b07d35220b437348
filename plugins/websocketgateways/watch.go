package websocketgateways

import (
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/plugins/internal/duration"
)

const (
	fieldWatch    = "watch"
	fieldClaim    = "claim"
	fieldRequired = "required"
	fieldEnabled  = "enabled"
	fieldLatest   = "latest"
	fieldBy       = "by"
	fieldMaxKeys  = "max_keys"

	fieldMinInterval = "min_interval"
	fieldEvents      = "sse"
)

const (
	byDevice = "device"
	byTopic  = "topic"
)

// liveFields are about what each client of a route gets.
func liveFields() []*service.ConfigField {
	return []*service.ConfigField{watchField(), latestField(), minIntervalField(), eventsField()}
}

func watchField() *service.ConfigField {
	return service.NewObjectField(fieldWatch,
		service.NewStringField(fieldClaim).
			Description("A claim of the client's token that lists what it may get: device IDs, and topic filters, which are told from device IDs by one of `/`, `+`, `#` and `$`. What is outside is never sent to it, whatever it asks for. A client whose token does not have the claim, or has there what is no list of such entries, is refused with 403. Needs `tokens`. Empty means that a client may choose anything.").
			Default("").
			Example("devices"),
		service.NewBoolField(fieldEnabled).
			Description("Whether clients may choose, as they may where `watch` is there. With `false` it is as if it were not.").
			Default(true).
			Example(false).
			Advanced(),
		service.NewBoolField(fieldRequired).
			Description("Whether a client gets nothing until it has said what it wants. If not, it gets everything that it may.").
			Default(false).
			Example(true),
	).
		Description("Lets clients choose whose messages they get, from envelopes with the fields of `iot_trigger`. A client names devices and MQTT topic filters in the query of its handshake, as in `?device_id=boiler&device_id=pump&topic=$devices/%2B/events/alarm/%23` (several in one parameter have commas between), or later, by the text message `{\"watch\":{\"device_ids\":[\"boiler\"],\"topics\":[]}}`, which replaces its whole choice (an empty object stands for everything, lists with nothing in them are refused) and does not reach `on_message`. The answer, `{\"messages\":[],\"watch\":{…}}`, says what is in force from there on; a choice in the query is answered, too. It gets the messages of each envelope that have one of the devices or whose topic one of the filters covers, in one envelope and in order, and goes on behind `last_event_id` likewise. A client that does not choose gets all envelopes as they are. With `?interval=1s` a client gets at most one message of each device in that time, the newest (see `min_interval`). One client may name 1000 devices and filters, these of 32 KiB together; more, or what is no device ID or filter, is refused with 400 (as `device_id`, `topic` and `interval` are on a route without `watch`), or by the message `{\"messages\":[],\"error\":{\"code\":\"watch\",\"message\":\"…\"}}`. A message that is no such envelope goes only to clients that get everything.").
		Example(map[string]any{}).
		Example(map[string]any{fieldClaim: "devices", fieldRequired: true}).
		Default(map[string]any{fieldEnabled: false}) // where the object is not there; {} has the defaults of its fields
}

func latestField() *service.ConfigField {
	return service.NewObjectField(fieldLatest,
		service.NewStringAnnotatedEnumField(fieldBy, map[string]string{
			byDevice: "One message for each device ID.",
			byTopic:  "One for each topic, so that several readings of a device are kept side by side.",
		}).
			Description("Of what to keep the newest message.").
			Default(byDevice).
			Example(byTopic),
		service.NewIntField(fieldMaxKeys).
			Description("Of how many devices or topics to keep a message. Beyond, those go that have been silent for longest. `0` keeps nothing, as if `latest` were not there.").
			Default(gateway.DefaultLatestKeys).
			Example(10_000).
			LintRule(notNegative(fieldMaxKeys)),
		service.NewIntField(fieldMaxBytes).
			Description("How many bytes to keep, some for each key included. Beyond, those go that have been silent for longest. `0` means no such bound.").
			Default(gateway.DefaultLatestBytes).
			Example(256<<20).
			LintRule(notNegative(fieldMaxBytes)),
		duration.Field(fieldMaxAge).
			Description("For how long to keep a message. `0s` means no such bound.").
			Default("0s").
			Example("24h"),
	).
		Description("Keeps the newest message of each device or topic, so that a page does not begin empty. A client that connects gets those that concern it before what is live, unless it goes on behind a `last_event_id` that the `history` knows, or asks for `latest=false` or `rewind=5m` in its query; so does one that chooses anew by `watch`, and one that resumes and is told of a gap, in place of what the history still has. A message with an empty payload removes its key. What is kept is in memory, and gone with the process.").
		Example(map[string]any{}).
		Example(map[string]any{fieldBy: byTopic, fieldMaxKeys: 10_000}).
		Default(map[string]any{fieldMaxKeys: 0}) // likewise
}

func minIntervalField() *service.ConfigField {
	return duration.Field(fieldMinInterval).
		Description("The least time between two messages of one device (or topic, with `latest.by: topic`) to one client. What comes in between is held back, and the newest goes out when the time is over, or, once, up to a quarter of it later, with those of other devices; the first after a pause goes out at once. With `watch`, a client may ask for more by `?interval=1s`. `0s` means that nothing is held back for a client that does not ask.").
		Default("0s").
		Example("500ms")
}

func eventsField() *service.ConfigField {
	return service.NewBoolField(fieldEvents).
		Description("Whether to serve server-sent events on the path, too, to requests with `Accept: text/event-stream`: for networks that break WebSockets, and for `curl -N`. Who may connect, what it may cost and what it gets is as for a WebSocket, with the same query; `Last-Event-ID`, which browsers send by themselves, is as good as `last_event_id`. Each envelope is an event whose `id` is its event ID. Binary messages are left out, and `compression` does not apply.").
		Default(false).
		Example(true)
}

// parseLive reads the fields of a route.
func parseLive(conf *service.ParsedConfig, rc *gateway.RouteConfig) (err error) {
	watched, err := conf.FieldBool(fieldWatch, fieldEnabled)
	if err != nil {
		return err
	}
	if watched {
		rc.Watch = new(gateway.Watch)
		if rc.Watch.Claim, err = conf.FieldString(fieldWatch, fieldClaim); err != nil {
			return err
		}
		if rc.Watch.Required, err = conf.FieldBool(fieldWatch, fieldRequired); err != nil {
			return err
		}
	}
	if rc.Events, err = conf.FieldBool(fieldEvents); err != nil {
		return err
	}
	if rc.MinInterval, err = duration.Of(conf, fieldMinInterval); err != nil {
		return err
	}
	if rc.Latest, err = parseLatest(conf.Namespace(fieldLatest)); err != nil {
		return fmt.Errorf("%s: %w", fieldLatest, err)
	}
	return nil
}

func parseLatest(conf *service.ParsedConfig) (l fanout.Latest, err error) {
	by, err := conf.FieldString(fieldBy)
	if err != nil {
		return l, err
	}
	if by != byDevice && by != byTopic {
		return l, fmt.Errorf("%s must be %s or %s, not %q", fieldBy, byDevice, byTopic, by)
	}
	l.ByTopic = by == byTopic
	if l.MaxKeys, err = intField(conf, fieldMaxKeys); err != nil {
		return l, err
	}
	bytes, err := intField(conf, fieldMaxBytes)
	if err != nil {
		return l, err
	}
	l.MaxBytes = int64(bytes)
	l.MaxAge, err = duration.Of(conf, fieldMaxAge)
	return l, err
}
