package websocketgateways

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// TestRoutes: what a route does not set, it has of its gateway; and a handler that
// is not there is none.
func TestRoutes(t *testing.T) {
	conf, err := service.NewConfigSpec().Field(Field()).ParseYAML(`
websocket_gateways:
  - label: main
    allowed_origins: [ a.example.com ]
    max_lifetime: 5m
    routes:
      - path: /plain
      - path: /own
        allowed_origins: [ b.example.com ]
        max_lifetime: 1m
        on_connect: [ { mapping: root = this } ]
        on_message: [ { mapping: root = this } ]
        on_disconnect: [ { mapping: root = this } ]
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := parse(conf, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	plain, own := all[0].Routes[0], all[0].Routes[1]
	if !slices.Equal(plain.AllowedOrigins, []string{"a.example.com"}) || plain.Limits.MaxLifetime.Minutes() != 5 {
		t.Errorf("not its gateway's: %+v", plain)
	}
	if !slices.Equal(own.AllowedOrigins, []string{"b.example.com"}) || own.Limits.MaxLifetime.Minutes() != 1 {
		t.Errorf("not its own: %+v", own)
	}
	if h := plain.Handlers; h.Connect != nil || h.Message != nil || h.Disconnect != nil {
		t.Errorf("handlers that nobody has configured: %+v", h)
	}
	if h := own.Handlers; h.Connect == nil || h.Message == nil || h.Disconnect == nil {
		t.Errorf("handlers that are lost: %+v", h)
	}
	all[0].close(t.Context())
}
