package websocketgateways

import (
	"fmt"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/plugins/internal/duration"
)

const (
	fieldPath        = "path"
	fieldHistory     = "history"
	fieldMaxMessages = "max_messages"
	fieldMaxBytes    = "max_bytes"
	fieldMaxAge      = "max_age"
	fieldWarmUp      = "warm_up"
	fieldResumeWait  = "resume_wait"
)

// routesField is the list of a gateway's routes.
func routesField() *service.ConfigField {
	fields := []*service.ConfigField{
		service.NewStringField(fieldPath).
			Description("The path of the URL that clients connect to.").
			Example("/telemetry").
			LintRule(`root = if !this.has_prefix("/") { [ "path \"%s\" must begin with /".format(this) ] } else if this.re_match("[{}?#\\s]") { [ "path \"%s\" must not hold white space or any of { } ? #".format(this) ] }`),
		historyField(),
		service.NewIntField(fieldMaxConnections).
			Description("How many connections may be open on the path. A request for one more is answered with 503. `0` means no limit but the gateway's.").
			Default(0).
			Example(1000).
			LintRule(notNegative(fieldMaxConnections)).
			Advanced(),
	}
	fields = append(fields, liveFields()...)
	fields = append(fields, handlerFields()...)
	fields = append(fields, tokensField())
	return service.NewObjectListField(fieldRoutes, append(fields, routeSettings()...)...).
		Description("The paths on which WebSocket connections can be opened. A request for any other path is answered with 404. What is set here overrides what the gateway has for all routes.").
		Example([]any{map[string]any{"path": "/telemetry"}, map[string]any{"path": "/alarms"}}).
		LintRule(`root = if this.type() == "array" && this.length() == 0 { [ "` + errNoRoute + `" ] }`)
}

// historyField bounds what is kept for clients that come back.
func historyField() *service.ConfigField {
	return service.NewObjectField(fieldHistory,
		service.NewIntField(fieldMaxMessages).
			Description("How many messages (envelopes) to keep. `0` means no such bound.").
			Default(0).
			Example(10_000).
			LintRule(notNegative(fieldMaxMessages)),
		service.NewIntField(fieldMaxBytes).
			Description("How many bytes of messages to keep, before compression. Unset, it is 67108864 (64 MiB) where another bound is set, so that no burst of messages takes more; `0` means no such bound.").
			Optional().
			Example(256<<20).
			LintRule(notNegative(fieldMaxBytes)),
		duration.Field(fieldMaxAge).
			Description("For how long to keep a message. `0s` means no such bound.").
			Default("0s").
			Example("5m"),
		duration.Field(fieldWarmUp).
			Description("After the start of the process, for how long a client that resumes from a message that is not known yet waits for it, before it is told of a gap. For a history that an input fills again, such as `envelope_log`.").
			Default("0s").
			Example("10s").
			Advanced(),
		duration.Field(fieldResumeWait).
			Description("For how long a client that resumes from a message that is not known waits for it, at any time, before it is told of a gap. For several gateways that read from one stream: the client may come from one that was ahead of this one.").
			Default("0s").
			Example("2s").
			Advanced(),
	).
		Description("What to keep in memory for clients that come back. A client that connects with the query parameter `last_event_id`, the `event_id` of the last message that it has seen, gets all that came since, and then what is live, with neither gap nor repeat. One that starts anew with `rewind=5m` gets what there is of the last five minutes; without a history that is refused with 400. Where the history does not reach back so far, the first message that it gets is `{\"messages\":[],\"gap\":{\"reason\":\"history\"}}`, and then all that there is. Nothing is kept unless at least one of the bounds is set. The frames are shared with the connections, so a history costs what it holds, and not more. A message whose `event_id` is in the history already, since the source has sent it again, is counted in `websocket_repeated` and not sent again.")
}

// parseRoute reads a route, for which the tokens are the gateway's.
func parseRoute(l layered, tokens *gateway.Tokens, p *parts) (rc gateway.RouteConfig, err error) {
	if rc.Path, err = l.route.FieldString(fieldPath); err != nil {
		return rc, err
	}
	p = p.within(rc.Path)
	if rc.MaxConnections, err = intField(l.route, fieldMaxConnections); err != nil {
		return rc, err
	}
	if rc.History, err = parseHistory(l.route.Namespace(fieldHistory)); err != nil {
		return rc, fmt.Errorf("%s: %w", fieldHistory, err)
	}
	if err := parseLive(l.route, &rc); err != nil {
		return rc, err
	}
	if err := parseSettings(l, &rc); err != nil {
		return rc, err
	}
	if rc.Limits.SlowConsumer == fanout.OnlyLatest && rc.Latest.MaxKeys == 0 {
		return rc, fmt.Errorf("%s: latest needs the newest messages to be kept: add %s: {} to the route", fieldSlowConsumer, fieldLatest)
	}
	if rc.Tokens, err = p.tokens(l.route); err != nil {
		return rc, err
	}
	if rc.Tokens == nil {
		rc.Tokens = tokens
	}
	if rc.Watch != nil && rc.Watch.Claim != "" && rc.Tokens == nil {
		return rc, fmt.Errorf("%s.%s names a claim of tokens, and there are no tokens: add a key to them", fieldWatch, fieldClaim)
	}
	rc.Handlers, err = parseHandlers(l.route, p)
	return rc, err
}

func parseHistory(conf *service.ParsedConfig) (h gateway.History, err error) {
	if h.Bounds.MaxMessages, err = intField(conf, fieldMaxMessages); err != nil {
		return h, err
	}
	for name, to := range map[string]*time.Duration{fieldMaxAge: &h.Bounds.MaxAge, fieldWarmUp: &h.WarmUp, fieldResumeWait: &h.ResumeWait} {
		if *to, err = duration.Of(conf, name); err != nil {
			return h, err
		}
	}
	if conf.Contains(fieldMaxBytes) {
		n, err := intField(conf, fieldMaxBytes)
		if err != nil {
			return h, err
		}
		h.Bounds.MaxBytes = int64(n)
	} else if h.Bounds != (fanout.History{}) {
		h.Bounds.MaxBytes = gateway.DefaultHistoryBytes
	}
	if (h.WarmUp > 0 || h.ResumeWait > 0) && h.Bounds == (fanout.History{}) {
		return h, fmt.Errorf("%s or %s without a history to wait for: set %s, %s or %s", fieldWarmUp, fieldResumeWait, fieldMaxMessages, fieldMaxBytes, fieldMaxAge)
	}
	return h, nil
}

// notNegative is a lint rule.
func notNegative(name string) string {
	return `root = if this.type() == "number" && this < 0 { [ "` + name + ` must not be negative" ] }`
}

// intField reads a number that must not be negative.
func intField(conf *service.ParsedConfig, name string) (int, error) {
	n, err := conf.FieldInt(name)
	if err == nil && n < 0 {
		err = fmt.Errorf("%s must not be negative", name)
	}
	return n, err
}
