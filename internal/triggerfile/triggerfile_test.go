package triggerfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/iotcast/iotcast/internal/triggerfile"
)

// Errors name the field, and nothing of a trigger is left unread.
func TestTriggerFileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":        "empty",
		"name: [": "yaml",
		"name: x": "rule is missing",
		"name: x\nrule: { iot_message: { registry_id: r } }":                                                                             "rule.iot_message.gateway_websocket_broadcast is missing",
		"name: x\nrule: { iot_broker_message: { broker_id: b, invoke_function: { function_id: f } } }":                                   "rule.iot_broker_message.invoke_function",
		"name: x\nrule: { iot_broker_message: { broker_id: b, something_new: { id: f } } }":                                              "rule.iot_broker_message.something_new",
		"name: x\nrule: { timer: { cron_expression: '* * * * ? *' } }":                                                                   "rule.timer",
		"name: x\nrule: { iotBrokerMessage: { broker_id: b, topik: x, gatewayWebsocketBroadcast: {} } }":                                 `"topik"`,
		"name: x\nrule: { iot_broker_message: { broker_id: b, batch_settings: { size: many }, gateway_websocket_broadcast: {} } }":       "size",
		"name: x\nrule: { iot_broker_message: { broker_id: b, batch_settings: { cutoff: 2 hours }, gateway_websocket_broadcast: {} } }":  "Duration",
		"- name: good\n  rule: { iot_broker_message: { broker_id: b, gateway_websocket_broadcast: {} } }\n- name: bad\n  rule: { x: 1 }": "",
		"- 1":      "object",
		"&a [ *a]": "contains itself",
	} {
		_, _, err := triggerfile.Decode([]byte(text), func(string, error) {})
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", text, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s in one line", text, err, want)
		}
	}
}

// YAML leaves out quotes that JSON needs.
func TestTriggerFileOfYAML(t *testing.T) {
	all, _, err := triggerfile.Decode([]byte(`
created_at: 2022-10-24T15:19:15.353909857Z
name: on
labels: { site: 7, on: true, empty: null }
rule:
  iotMessage:
    registry_id: 1e3
    batch_settings: { size: 10, cutoff: 2.5s }
    gateway_websocket_broadcast: { gateway_id: main, path: /x }
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, rule := all[0], all[0].GetRule().GetIotMessage()
	if got.Name != "on" || got.Labels["site"] != "7" || got.Labels["on"] != "true" || rule.RegistryId != "1e3" || rule.BatchSettings.Size != 10 {
		t.Errorf("%v", got)
	}
}

func FuzzDecodeTriggers(f *testing.F) {
	for _, name := range []string{"device.yaml", "broker.json", "list.yaml", "list.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, _, err := triggerfile.Decode(text, func(string, error) {})
		if err != nil {
			return
		}
		for _, one := range all {
			again, err := protojson.Marshal(one)
			if err != nil {
				t.Fatalf("%v cannot be printed: %v", one, err)
			}
			if same, _, err := triggerfile.Decode(again, nil); err != nil || !proto.Equal(same[0], one) {
				t.Errorf("%v %v, want %v", same, err, one)
			}
		}
	})
}
