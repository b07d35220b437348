package websocketgateways

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// TestLiveFields: what is not there is off, what is there has its defaults.
func TestLiveFields(t *testing.T) {
	spec := service.NewConfigSpec().Field(Field())
	for route, want := range map[string]string{
		"":                       "off",
		"watch: {}":              "watch",
		"watch: { claim: x }":    "tokens",
		"latest: {}":             "latest",
		"latest: { by: topic }":  "latest by topic",
		"watch: {}, latest: {}":  "watch latest",
		"slow_consumer: latest":  "needs the newest",
		"latest: { max_age: 1 }": "duration",
	} {
		conf, err := spec.ParseYAML("websocket_gateways: [ { label: main, routes: [ { path: /a, "+route+" } ] } ]", nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if all, err := parse(conf, newParts(nil, slog.New(slog.DiscardHandler))); err != nil {
			got = err.Error()
		} else {
			r := all[0].Routes[0]
			if r.Watch != nil {
				got += "watch "
			}
			if r.Latest.MaxKeys > 0 {
				got += "latest "
			}
			if r.Latest.ByTopic {
				got += "by topic "
			}
			if got == "" {
				got = "off"
			}
		}
		if !strings.Contains(got, want) || want == "off" && got != "off" {
			t.Errorf("%s: %s, want %s", route, got, want)
		}
	}
}
