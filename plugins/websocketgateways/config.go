// Package websocketgateways is the top-level field websocket_gateways: it
// starts the gateways of a process and keeps them for its outputs.
package websocketgateways

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"iotcast/internal/fanout"
	"iotcast/internal/gateway"
)

const (
	fieldGateways        = "websocket_gateways"
	fieldLabel           = "label"
	fieldAddress         = "address"
	fieldAllowedOrigins  = "allowed_origins"
	fieldViewer          = "viewer"
	fieldCompression     = "compression"
	fieldRoutes          = "routes"
	fieldPath            = "path"
	fieldQueueBytes      = "queue_bytes"
	fieldSlowConsumer    = "slow_consumer"
	fieldMaxMessageBytes = "max_message_bytes"
	fieldPingInterval    = "ping_interval"
	fieldIdleTimeout     = "idle_timeout"
	fieldMaxLifetime     = "max_lifetime"
)

var policies = map[string]fanout.Policy{
	"disconnect":  fanout.Disconnect,
	"drop_oldest": fanout.DropOldest,
}

// Field is the top-level field.
func Field() *service.ConfigField {
	return service.NewObjectListField(fieldGateways,
		service.NewStringField(fieldLabel).
			Description("The name by which `websocket_broadcast` outputs find this gateway.").
			Example("main").
			LintRule(`root = if this == "" { [ "`+errNoLabel+`" ] }`),
		service.NewStringField(fieldAddress).
			Description("The host and port to listen on. An empty host listens on all interfaces.").
			Default("127.0.0.1:8080").
			Example("0.0.0.0:8080").
			Example("${GATEWAY_ADDRESS:127.0.0.1:8080}").
			LintRule(`root = if !this.re_match(":[0-9]+$") { [ "address \"%s\" has no port: write host:port, such as 127.0.0.1:8080".format(this) ] }`),
		service.NewObjectListField(fieldRoutes,
			service.NewStringField(fieldPath).
				Description("The path of the URL that clients connect to.").
				Example("/telemetry").
				LintRule(`root = if !this.has_prefix("/") { [ "path \"%s\" must begin with /".format(this) ] } else if this.re_match("[{}?#\\s]") { [ "path \"%s\" must not hold white space or any of { } ? #".format(this) ] }`),
		).
			Description("The paths on which WebSocket connections can be opened. A request for any other path is answered with 404.").
			Example([]any{map[string]any{"path": "/telemetry"}, map[string]any{"path": "/alarms"}}).
			LintRule(`root = if this.type() == "array" && this.length() == 0 { [ "`+errNoRoute+`" ] }`),
		service.NewStringListField(fieldAllowedOrigins).
			Description("Web pages of other origins that may connect: host patterns such as `*.example.com`, or with a scheme, `https://example.com`. Pages that come from the gateway's own host may always, and so may clients that are not browsers. `*` lets every page in.").
			Default([]any{}).
			Example([]string{"dashboard.example.com", "http://localhost:*"}),
		service.NewStringField(fieldViewer).
			Description("The path of a built-in page that shows what arrives on the routes, as a chart and as the envelopes. Empty means no such page.").
			Default("").
			Example("/"),
		service.NewBoolField(fieldCompression).
			Description("Whether to compress messages (permessage-deflate, RFC 7692) for clients that offer it, as browsers do. Each message is compressed once, however many connections get it. Worth it where bandwidth is dear and envelopes hold many messages.").
			Default(false).
			Example(true),
		service.NewStringAnnotatedEnumField(fieldSlowConsumer, map[string]string{
			"disconnect":  "Close it with code 1013, try again later. The client sees an end, never a gap.",
			"drop_oldest": "Drop the oldest messages that wait for it, and count them.",
		}).
			Description("What happens to a connection for which more than `queue_bytes` wait, because its client does not read fast enough.").
			Default("disconnect").
			Example("drop_oldest"),
		service.NewIntField(fieldQueueBytes).
			Description("How many bytes may wait for one connection. The connections of a route share what waits, so this also bounds what all slow connections of a route cost together.").
			Default(8<<20).
			Example(1<<20).
			LintRule(fmt.Sprintf(`root = if this.type() == "number" && this < %d { [ %q ] }`, minQueueBytes, errQueueBytes)),
		service.NewIntField(fieldMaxMessageBytes).
			Description("The largest message that a client may send, in bytes. A larger one closes its connection with code 1009.").
			Default(128<<10).
			Example(1024).
			LintRule(`root = if this.type() == "number" && this < 1 { [ "`+errMaxMessage+`" ] }`),
		durationField(fieldPingInterval, "30s", "10s", "How often a connection is probed with a ping. One that has not answered by the next is closed. `0s` means never."),
		durationField(fieldIdleTimeout, "10m", "0s", "After how long without any message or ping from or to its client, pongs aside, a connection is closed with code 1001. `0s` means never."),
		durationField(fieldMaxLifetime, "60m", "24h", "After how long a connection is closed with code 1001, whatever it does. `0s` means never."),
	).
		Description("Listeners for WebSocket connections. They live as long as the process: streams that broadcast to them come and go while the connections stay open.").
		Default([]any{}).
		Example([]any{map[string]any{
			"label": "main", "address": "127.0.0.1:8080",
			"routes": []any{map[string]any{"path": "/telemetry"}},
		}}).
		LintRule(`root = if this.type() == "array" && this.map_each(g -> g.label.or("")).unique().length() != this.length() { [ "` + errSameLabel + `" ] }`)
}

func durationField(name, byDefault, example, description string) *service.ConfigField {
	return service.NewDurationField(name).Description(description).Default(byDefault).Example(example).Advanced()
}

// minQueueBytes leaves room for a few messages, whatever the policy.
const minQueueBytes = 16 << 10

const (
	errNoLabel    = "label must not be empty: outputs find the gateway by it"
	errSameLabel  = "two websocket_gateways have the same label: outputs could not tell them apart"
	errNoRoute    = "routes needs at least one path, such as /telemetry"
	errMaxMessage = "max_message_bytes must be at least 1"
)

var errQueueBytes = fmt.Sprintf("queue_bytes must be at least %d", minQueueBytes)

// parse reads and checks the field: lints can be switched off.
func parse(root *service.ParsedConfig) (all []gateway.Config, err error) {
	list, err := root.FieldObjectList(fieldGateways)
	if err != nil {
		return nil, err
	}
	labels := map[string]bool{}
	for i, conf := range list {
		cfg, err := parseGateway(conf)
		if err != nil {
			return nil, fmt.Errorf("%s[%d] %q: %w", fieldGateways, i, cfg.Label, err)
		}
		if labels[cfg.Label] {
			return nil, errors.New(errSameLabel)
		}
		labels[cfg.Label] = true
		all = append(all, cfg)
	}
	return all, nil
}

func parseGateway(conf *service.ParsedConfig) (cfg gateway.Config, err error) {
	if cfg.Label, err = conf.FieldString(fieldLabel); err != nil {
		return cfg, err
	}
	if cfg.Address, err = conf.FieldString(fieldAddress); err != nil {
		return cfg, err
	}
	if cfg.AllowedOrigins, err = conf.FieldStringList(fieldAllowedOrigins); err != nil {
		return cfg, err
	}
	if cfg.Viewer, err = conf.FieldString(fieldViewer); err != nil {
		return cfg, err
	}
	if cfg.Compression, err = conf.FieldBool(fieldCompression); err != nil {
		return cfg, err
	}
	if cfg.Limits, err = parseLimits(conf); err != nil {
		return cfg, err
	}
	routes, err := conf.FieldObjectList(fieldRoutes)
	if err != nil {
		return cfg, err
	}
	for _, r := range routes {
		path, err := r.FieldString(fieldPath)
		if err != nil {
			return cfg, err
		}
		cfg.Routes = append(cfg.Routes, gateway.RouteConfig{Path: path})
	}
	return cfg, check(cfg)
}

func parseLimits(conf *service.ParsedConfig) (l gateway.Limits, err error) {
	policy, err := conf.FieldString(fieldSlowConsumer)
	if err != nil {
		return l, err
	}
	var ok bool
	if l.SlowConsumer, ok = policies[policy]; !ok {
		return l, fmt.Errorf("%s must be disconnect or drop_oldest, not %q", fieldSlowConsumer, policy)
	}
	for name, to := range map[string]*int64{fieldQueueBytes: &l.QueueBytes, fieldMaxMessageBytes: &l.MaxMessageBytes} {
		n, err := conf.FieldInt(name)
		if err != nil {
			return l, err
		}
		*to = int64(n)
	}
	for name, to := range map[string]*time.Duration{
		fieldPingInterval: &l.PingInterval, fieldIdleTimeout: &l.IdleTimeout, fieldMaxLifetime: &l.MaxLifetime,
	} {
		if *to, err = conf.FieldDuration(name); err != nil {
			return l, err
		}
		if *to < 0 {
			return l, fmt.Errorf("%s must not be negative", name)
		}
	}
	return l, nil
}

func check(cfg gateway.Config) error {
	switch {
	case cfg.Label == "":
		return errors.New(errNoLabel)
	case len(cfg.Routes) == 0:
		return errors.New(errNoRoute)
	case cfg.Limits.QueueBytes < minQueueBytes:
		return errors.New(errQueueBytes)
	case cfg.Limits.MaxMessageBytes < 1:
		return errors.New(errMaxMessage)
	}
	if _, _, err := net.SplitHostPort(cfg.Address); err != nil {
		return fmt.Errorf("%s: %w: write host:port, such as 127.0.0.1:8080", fieldAddress, err)
	}
	all := paths(cfg.Routes)
	if cfg.Viewer != "" {
		all = append(all, cfg.Viewer)
	}
	seen := map[string]bool{}
	for _, path := range all {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "{}?# \t\r\n") {
			return fmt.Errorf("path %q must begin with / and hold neither white space nor any of { } ? #", path)
		}
		if seen[path] {
			return fmt.Errorf("path %q is there twice: every route, and the viewer, needs a path of its own", path)
		}
		seen[path] = true
	}
	return nil
}

func paths(routes []gateway.RouteConfig) []string {
	p := make([]string, len(routes))
	for i, r := range routes {
		p[i] = r.Path
	}
	return p
}
