package websocketgateways

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
)

func parseAll(t *testing.T, yaml string) ([]gateway.Config, error) {
	t.Helper()
	conf, err := service.NewConfigSpec().Field(Field()).ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	return parse(conf, newParts(nil, slog.New(slog.DiscardHandler)))
}

// TestRoutes: what a route does not set it has from its gateway.
func TestRoutes(t *testing.T) {
	all, err := parseAll(t, `
websocket_gateways:
  - label: main
    allowed_origins: [ a.example.com ]
    compression: true
    slow_consumer: drop_oldest
    queue_bytes: 20000
    idle_timeout: 1m
    tokens: { secret: `+secret+`, query_parameter: q }
    routes:
      - path: /plain
      - path: /own
        allowed_origins: [ b.example.com ]
        compression: false
        slow_consumer: disconnect
        queue_bytes: 30000
        max_frame_bytes: 100
        idle_timeout: 0s
        max_connections: 7
        history: { max_messages: 3, max_bytes: 4, max_age: 5s, warm_up: 6s }
        tokens: { secret: `+secret+`, optional: true }
        on_message: [ { mapping: root = this } ]
`)
	if err != nil {
		t.Fatal(err)
	}
	plain, own := all[0].Routes[0], all[0].Routes[1]
	if !slices.Equal(plain.AllowedOrigins, []string{"a.example.com"}) ||
		!plain.Compression || plain.Limits.SlowConsumer != fanout.DropOldest ||
		plain.Limits.QueueBytes != 20000 || plain.Limits.IdleTimeout != time.Minute || plain.Limits.MaxMessageBytes != 128<<10 ||
		plain.Tokens == nil || plain.Tokens.QueryParameter != "q" || plain.History.Bounds != (fanout.History{}) ||
		plain.Handlers.Connect != nil || plain.Handlers.Message != nil || plain.Handlers.Disconnect != nil {
		t.Errorf("%+v", plain)
	}
	if !slices.Equal(own.AllowedOrigins, []string{"b.example.com"}) || own.Compression || own.Limits.SlowConsumer != fanout.Disconnect ||
		own.Limits.QueueBytes != 30000 || own.Limits.MaxFrameBytes != 100 || own.Limits.IdleTimeout != 0 || own.MaxConnections != 7 ||
		own.Tokens == nil || !own.Tokens.Optional || own.Tokens.QueryParameter != "" ||
		own.History.Bounds != (fanout.History{MaxMessages: 3, MaxBytes: 4, MaxAge: 5 * time.Second}) ||
		own.History.WarmUp != 6*time.Second ||
		own.Handlers.Message == nil || own.Handlers.Connect != nil {
		t.Errorf("%+v", own)
	}
}

// TestMistakesOfRoutes: lints can be switched off.
func TestMistakesOfRoutes(t *testing.T) {
	for route, want := range map[string]string{
		"path: a":                                 "must begin with /",
		"path: /a, queue_bytes: 5":                "queue_bytes",
		"path: /a, slow_consumer: never":          "slow_consumer",
		"path: /a, max_frame_bytes: -1":           "max_frame_bytes",
		"path: /a, idle_timeout: -1s":             "idle_timeout",
		"path: /a, max_connections: -1":           "max_connections",
		"path: /a, history: { max_age: -1s }":     "history: max_age",
		"path: /a, history: { max_bytes: -1 }":    "max_bytes",
		"path: /a, history: { warm_up: 1s }":      "without a history to wait for",
		"path: /a, handler_timeout: 0s":           "handler_timeout",
		"path: /a }, { path: /a":                  "is there twice",
		"path: /a, allowed_origins: [ a.test/x ]": "allowed_origins: no page",
		"path: /a, tokens: { secret: too short }": "tokens: secret",
	} {
		_, err := parseAll(t, "websocket_gateways: [ { label: main, routes: [ { "+route+" } ] } ]")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", route, err, want)
		}
	}
}

// TestHistoryIsBoundedInBytes: unless the config says that it is not.
func TestHistoryIsBoundedInBytes(t *testing.T) {
	for history, want := range map[string]fanout.History{
		"{}":                              {},
		"{ max_age: 5m }":                 {MaxAge: 5 * time.Minute, MaxBytes: 64 << 20},
		"{ max_messages: 3 }":             {MaxMessages: 3, MaxBytes: 64 << 20},
		"{ max_age: 5m, max_bytes: 100 }": {MaxAge: 5 * time.Minute, MaxBytes: 100},
		"{ max_age: 5m, max_bytes: 0 }":   {MaxAge: 5 * time.Minute},
		"{ max_bytes: 100 }":              {MaxBytes: 100},
	} {
		all, err := parseAll(t, "websocket_gateways: [ { label: main, routes: [ { path: /a, history: "+history+" } ] } ]")
		if err != nil {
			t.Fatal(err)
		}
		if got := all[0].Routes[0].History.Bounds; got != want {
			t.Errorf("%s: %+v, want %+v", history, got, want)
		}
	}
}

// TestDefaults: what is built in Go with the defaults, by plugins/gateway, is what is configured with them.
func TestDefaults(t *testing.T) {
	all, err := parseAll(t, "websocket_gateways: [ { label: main, routes: [ { path: /a, latest: {}, history: { max_age: 1s } } ] } ]")
	if err != nil {
		t.Fatal(err)
	}
	r := all[0].Routes[0]
	if r.Limits != gateway.DefaultLimits() ||
		r.Latest.MaxKeys != gateway.DefaultLatestKeys || r.Latest.MaxBytes != gateway.DefaultLatestBytes ||
		r.History.Bounds.MaxBytes != gateway.DefaultHistoryBytes || all[0].Admission.HandshakeTimeout != gateway.DefaultHandshakeTimeout ||
		!all[0].AccessLog || all[0].Shutdown != (gateway.Shutdown{}) {
		t.Errorf("%+v", all[0])
	}
}
