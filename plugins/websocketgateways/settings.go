package websocketgateways

import (
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/origin"
	"github.com/iotcast/iotcast/plugins/internal/duration"
)

const (
	fieldAllowedOrigins  = "allowed_origins"
	fieldCompression     = "compression"
	fieldSlowConsumer    = "slow_consumer"
	fieldQueueBytes      = "queue_bytes"
	fieldMaxMessageBytes = "max_message_bytes"
	fieldMaxFrameBytes   = "max_frame_bytes"
	fieldPingInterval    = "ping_interval"
	fieldIdleTimeout     = "idle_timeout"
	fieldMaxLifetime     = "max_lifetime"
)

var policies = map[string]fanout.Policy{
	"disconnect":  fanout.Disconnect,
	"drop_oldest": fanout.DropOldest,
	"latest":      fanout.OnlyLatest,
}

// setting is a field that stands in a gateway, for all its routes, and in a
// route, for that one.
type setting struct {
	field     *service.ConfigField
	byDefault any
}

func settings() []setting {
	limits := gateway.DefaultLimits()
	return []setting{
		{
			service.NewStringListField(fieldAllowedOrigins).
				Description("Web pages of other origins that may connect: host patterns such as `*.example.com`, or with a scheme, `https://example.com`. A port must be named if it is not that of the scheme: `localhost:*` stands for all. Pages that come from the gateway's own host and port may always, and so may clients that are not browsers. `*` lets every page in, `null` those without an origin, such as files in some browsers. The log names each origin that was refused, once.").
				Example([]string{"dashboard.example.com", "http://localhost:*", "http://[::1]:8000"}).
				LintRule(origin.LintRule),
			[]any{},
		},
		{
			service.NewBoolField(fieldCompression).
				Description("Whether to compress messages (permessage-deflate, RFC 7692) for clients that offer it, as browsers do. Each message is compressed once, however many connections get it. Worth it where bandwidth is dear and envelopes hold many messages.").
				Example(true),
			false,
		},
		{
			service.NewStringAnnotatedEnumField(fieldSlowConsumer, map[string]string{
				"disconnect":  "Close it with code 1013, try again later. The client sees an end, never a gap.",
				"drop_oldest": "Drop the oldest messages that wait for it, count them, and tell the client how many.",
				"latest":      "Drop all that waits for it at once, and have the newest message of each device or topic that concerns it wait instead: on a bad line it gets less, and nothing old. It is told how many envelopes it did not get, and is not closed as long as it reads. Of routes with `latest` only.",
			}).
				Description("What happens to a connection for which more than `queue_bytes` wait, because its client does not read fast enough.").
				Example("drop_oldest"),
			"disconnect",
		},
		{
			service.NewIntField(fieldQueueBytes).
				Description("How many bytes may wait for one connection. The connections of a route share what waits, so this also bounds what all slow connections of a route cost together.").
				Example(1 << 20).
				LintRule(fmt.Sprintf(`root = if this.type() == "number" && this < %d { [ %q ] }`, gateway.MinQueueBytes, errQueueBytes)),
			int(limits.QueueBytes),
		},
		{
			service.NewIntField(fieldMaxMessageBytes).
				Description("The largest message that a client may send, in bytes. A larger one closes its connection with code 1009.").
				Example(1024).
				LintRule(`root = if this.type() == "number" && this < 1 { [ "` + errMaxMessage + `" ] }`),
			int(limits.MaxMessageBytes),
		},
		{
			service.NewIntField(fieldMaxFrameBytes).
				Description("The largest frame that a client may send, in bytes: a longer message must come in several. A larger one closes its connection with code 1009. The original service allows 32768. `0` means that `max_message_bytes` is the only bound.").
				Example(32 << 10).
				LintRule(`root = if this.type() == "number" && this < 0 { [ "` + errMaxFrame + `" ] }`).
				Advanced(),
			0,
		},
		durationSetting(fieldPingInterval, "30s", "10s", "How often a connection is probed with a ping. One that has not answered by the next is closed. `0s` means never."),
		durationSetting(fieldIdleTimeout, "10m", "0s", "After how long without any message or ping from or to its client, pongs aside, a connection is closed with code 1001. `0s` means never."),
		durationSetting(fieldMaxLifetime, "60m", "24h", "After how long a connection is closed with code 1001, whatever it does. `0s` means never."),
	}
}

func durationSetting(name, byDefault, example, description string) setting {
	return setting{duration.Field(name).Description(description).Example(example).Advanced(), byDefault}
}

// gatewaySettings are the settings as fields of a gateway.
func gatewaySettings() (fields []*service.ConfigField) {
	for _, s := range settings() {
		fields = append(fields, s.field.Default(s.byDefault))
	}
	return fields
}

// routeSettings are the same as fields of a route: unset, the gateway's hold.
func routeSettings() (fields []*service.ConfigField) {
	for _, s := range settings() {
		fields = append(fields, s.field.Optional().Advanced())
	}
	return fields
}

const (
	errMaxMessage = "max_message_bytes must be at least 1"
	errMaxFrame   = "max_frame_bytes must not be negative"
)

var errQueueBytes = fmt.Sprintf("queue_bytes must be at least %d", gateway.MinQueueBytes)

// layered reads a setting from a route, or where that does not have it, from its
// gateway.
type layered struct{ route, gateway *service.ParsedConfig }

func (l layered) of(name string) *service.ParsedConfig {
	if l.route.Contains(name) {
		return l.route
	}
	return l.gateway
}

// parseSettings reads the settings of a route.
func parseSettings(l layered, rc *gateway.RouteConfig) (err error) {
	if rc.AllowedOrigins, err = l.route.FieldStringList(fieldAllowedOrigins); err != nil {
		return err
	}
	if len(rc.AllowedOrigins) == 0 { // to Benthos a list is always there, empty
		if rc.AllowedOrigins, err = l.gateway.FieldStringList(fieldAllowedOrigins); err != nil {
			return err
		}
	}
	if err := origin.Check(rc.AllowedOrigins); err != nil {
		return fmt.Errorf("%s: %w", fieldAllowedOrigins, err)
	}
	if rc.Compression, err = l.of(fieldCompression).FieldBool(fieldCompression); err != nil {
		return err
	}
	policy, err := l.of(fieldSlowConsumer).FieldString(fieldSlowConsumer)
	if err != nil {
		return err
	}
	limits, ok := &rc.Limits, false
	if limits.SlowConsumer, ok = policies[policy]; !ok {
		return fmt.Errorf("%s must be disconnect, drop_oldest or latest, not %q", fieldSlowConsumer, policy)
	}
	for name, to := range map[string]*int64{
		fieldQueueBytes: &limits.QueueBytes, fieldMaxMessageBytes: &limits.MaxMessageBytes, fieldMaxFrameBytes: &limits.MaxFrameBytes,
	} {
		n, err := l.of(name).FieldInt(name)
		if err != nil {
			return err
		}
		*to = int64(n)
	}
	for name, to := range map[string]*time.Duration{
		fieldPingInterval: &limits.PingInterval, fieldIdleTimeout: &limits.IdleTimeout, fieldMaxLifetime: &limits.MaxLifetime,
	} {
		if *to, err = duration.Of(l.of(name), name); err != nil {
			return err
		}
	}
	return checkLimits(limits)
}

// checkLimits checks again what lint rules have: lints can be switched off.
func checkLimits(l *fanout.Limits) error {
	switch {
	case l.QueueBytes < gateway.MinQueueBytes:
		return fmt.Errorf("%s", errQueueBytes)
	case l.MaxMessageBytes < 1:
		return fmt.Errorf("%s", errMaxMessage)
	case l.MaxFrameBytes < 0:
		return fmt.Errorf("%s", errMaxFrame)
	}
	return nil
}
