package configtext_test

import (
	"strings"
	"testing"

	"github.com/iotcast/iotcast/internal/configtext"
)

// TestTogether: an empty want is for what goes together, or is not known.
func TestTogether(t *testing.T) {
	const (
		gateways = "websocket_gateways: [ { label: main, routes: [ { path: /a }, { path: /b } ] } ]\n"
		trigger  = "pipeline: { processors: [ iot_trigger: {} ] }\n"
		batches  = "output: { broker: { outputs: [ drop: {} ], batching: { count: 5 } } }\n"
	)
	for text, want := range map[string]string{
		gateways + "output:\n  websocket_broadcast: { gateway: main, path: /a }":                         "",
		gateways + "output:\n  websocket_broadcast: { gateway: other, path: /a }":                        `(3,1) gateway "other" is none of the websocket_gateways of this config: there is ["main"]`,
		gateways + "output: { fallback: [ websocket_broadcast: { gateway: main, path: /c } ] }":          `path "/c" is no route of gateway "main": there is ["/a" "/b"]`,
		gateways + "output: { websocket_broadcast: { gateway: '${G}', path: /c } }":                      "",
		gateways + "output: { websocket_broadcast: { gateway: main, path: '${P:/c}' } }":                 "",
		"output: { websocket_broadcast: { gateway: other, path: /a } }":                                  "",
		"websocket_gateways: [ { label: '${L}' } ]\noutput: { websocket_broadcast: { gateway: other } }": "",
		"input: { iot_mqtt: { strict_order: true } }\npipeline: { threads: 4 }":                          "(2,1) strict_order",
		"input: { iot_mqtt: { strict_order: true } }\npipeline: { threads: 1 }":                          "",
		"input: { iot_mqtt: { strict_order: true } }":                                                    "",
		"input: { iot_mqtt: { strict_order: true } }\npipeline: { threads: '${N}' }":                     "",
		trigger + batches: "(2,1) an output that batches",
		"pipeline: { threads: 1, processors: [ iot_trigger: {} ] }\n" + batches: "",
		batches: "",
		"iot_registries: [ { id: r } ]\nmqtt_broker:\n  users: [ { user: u, password: p } ]":               "(3,1) mqtt_broker.users and iot_registries or iot_brokers are both set",
		"iot_brokers: [ { id: b } ]\nmqtt_broker: { users: [ { user: u, password: p } ] }":                 "(2,1) mqtt_broker.users",
		"iot_registries: [ { id: r } ]\nmqtt_broker: { address: '', users: [ { user: u, password: p } ] }": "", // there is none
		"iot_registries: []\nmqtt_broker: { users: [ { user: u, password: p } ] }":                         "",
		"iot_registries: [ { id: r } ]\nmqtt_broker: { users: [] }":                                        "",
		"output: [ ${X:text": "",
		"":                   "",
	} {
		if got := texts(configtext.Together([]byte(text))); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s:\n%s, want %q", text, got, want)
		}
	}
}
