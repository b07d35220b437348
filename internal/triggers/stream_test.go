package triggers_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	api "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/iotcast/iotcast/internal/triggers"
)

var update = flag.Bool("update", false, "write the golden files")

// own is a template of somebody's own: TLS, a batch that may be larger, another output beside, comments, and environment
// variables.
const own = `
input:
  broker:
    inputs:
      - iot_mqtt:
          urls: [ "${MQTT_URL}" ]
          tls: { enabled: true, root_cas_file: ca.pem }
          batching: { byte_size: 65536 } # of payload
          clean_session: false
pipeline:
  processors:
    - iot_trigger: {}
output:
  fallback:
    - websocket_broadcast: { no_connections: reject }
    - file: { path: "lost.jsonl" } # for later
`

func device() *api.Trigger {
	return &api.Trigger{Id: "a1s5msktijh2xaty6mqo", Name: "iot-trigger", Rule: &api.Trigger_Rule{Rule: &api.Trigger_Rule_IotMessage{IotMessage: &api.Trigger_IoTMessage{
		RegistryId: "arenou2oj4h2u7d1k3qz", DeviceId: "areqjd6un3h2hw8x0fpe", MqttTopic: "$devices/areqjd6un3h2hw8x0fpe/events",
		BatchSettings: &api.BatchSettings{Size: 10, Cutoff: durationpb.New(2500 * time.Millisecond)},
		Action: &api.Trigger_IoTMessage_GatewayWebsocketBroadcast{GatewayWebsocketBroadcast: &api.GatewayWebsocketBroadcast{
			GatewayId: "d4eofc7n0mh2k5r9vtjb", Path: "/telemetry", ServiceAccountId: "aje3932acdh2o8wq1zns",
		}},
	}}}}
}

func broker() *api.Trigger {
	message := &api.Trigger_IoTBrokerMessage{
		BrokerId:      "are1ab2c3d4e5f6g7h8i",
		BatchSettings: &api.BatchSettings{Size: 1, Cutoff: durationpb.New(0)},
		Action: &api.Trigger_IoTBrokerMessage_GatewayWebsocketBroadcast{GatewayWebsocketBroadcast: &api.GatewayWebsocketBroadcast{
			GatewayId: "main", Path: "/alarms",
		}},
	}
	rule := &api.Trigger_Rule{Rule: &api.Trigger_Rule_IotBrokerMessage{IotBrokerMessage: message}}
	return &api.Trigger{Id: "hall-alarms", Name: "hall-alarms", Rule: rule}
}

func TestStream(t *testing.T) {
	here := triggers.Maker{Template: triggers.Template, Broker: "tcp://127.0.0.1:1883", Password: "of this process"}
	for name, tt := range map[string]struct {
		maker       triggers.Maker
		trigger     *api.Trigger
		unsubscribe []string
	}{
		"device":    {triggers.Maker{Template: triggers.Template}, device(), []string{"$devices/+/state"}},
		"broker":    {here, broker(), nil},
		"own":       {triggers.Maker{Template: []byte(own), Broker: here.Broker, Password: here.Password}, device(), nil},
		"ownlogin":  {triggers.Maker{Template: []byte("input: { iot_mqtt: { user: me } }\noutput: { websocket_broadcast: {} }"), Broker: here.Broker, Password: here.Password}, broker(), nil},
		"ownbroker": {triggers.Maker{Template: []byte("input: { iot_mqtt: { qos: 2, topics: [ x ], client_id: mine } }\noutput: { websocket_broadcast: { service_account_id: mine } }"), Broker: here.Broker, Password: here.Password}, broker(), nil},
	} {
		text, err := tt.maker.Stream(tt.trigger, tt.unsubscribe)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "stream_"+name+".yaml", text)
	}
	number := broker()
	number.Rule.GetIotBrokerMessage().BrokerId = "0123"
	if text, err := here.Stream(number, nil); err != nil || strings.Count(string(text), `: "0123"`) != 2 {
		t.Errorf("an ID of digits: %s (%v)", text, err)
	}
	for name, tt := range map[string]triggers.Maker{"broker": here, "own": {Template: []byte(own)}} {
		text, err := tt.Farewell(broker())
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "farewell_"+name+".yaml", text)
	}
	if text, err := (triggers.Maker{Template: []byte(strings.ReplaceAll(own, "clean_session: false", ""))}).Farewell(broker()); text != nil || err != nil {
		t.Errorf("without a session: %s (%v)", text, err)
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s (%v):\n%s\nwant:\n%s", name, err, got, want)
	}
}

// TestPasswordStaysHere: it goes to no other MQTT broker.
func TestPasswordStaysHere(t *testing.T) {
	for _, template := range []string{own, "input: { iot_mqtt: { urls: 'tcp://elsewhere:1883' } }\noutput: { websocket_broadcast: {} }"} {
		m := triggers.Maker{Template: []byte(template), Broker: "tcp://127.0.0.1:1883", Password: "of this process"}
		if text, err := m.Stream(device(), nil); err != nil || strings.Contains(string(text), m.Password) {
			t.Errorf("%s (%v)", text, err)
		}
	}
}

func TestGone(t *testing.T) {
	rule := func(change func(*api.Trigger_IoTMessage)) triggers.Rule {
		one := device()
		change(one.Rule.GetIotMessage())
		r, err := triggers.RuleOf(one.Rule)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	events := rule(func(*api.Trigger_IoTMessage) {})
	state := rule(func(m *api.Trigger_IoTMessage) { m.MqttTopic = "$devices/+/state" })
	all := rule(func(m *api.Trigger_IoTMessage) { m.MqttTopic, m.DeviceId = "", "" })
	gone := triggers.Gone(events, state, nil)
	if !slices.Equal(gone, []string{"$devices/areqjd6un3h2hw8x0fpe/events"}) {
		t.Error(gone)
	}
	gone = triggers.Gone(state, all, gone)
	if !slices.Equal(gone, []string{"$devices/areqjd6un3h2hw8x0fpe/events", "$devices/+/state"}) {
		t.Error(gone)
	}
	gone = triggers.Gone(all, events, gone) // which is there again
	if !slices.Equal(gone, []string{"$devices/+/state", "$devices/+/#", "$registries/arenou2oj4h2u7d1k3qz/#"}) {
		t.Error(gone)
	}
	if again := triggers.Gone(events, events, gone); !slices.Equal(again, gone) {
		t.Error(again)
	}
}

// TestTemplateIsDocumented: users start from what the page shows.
func TestTemplateIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/triggers.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```yml\n"+string(triggers.Template)+"```\n") {
		t.Error("docs/triggers.md does not show template.yaml")
	}
}

func TestTemplatesThatAreRefused(t *testing.T) {
	for template, want := range map[string]string{
		"":           "no stream",
		"- a":        "no stream",
		"input: [":   "did not find",
		"output: {}": "its input has 0 iot_mqtt: a trigger has one",
		"input: { iot_mqtt: {} }\noutput: { drop: {} }":                                                              "its output has 0 websocket_broadcast",
		"input: { broker: { inputs: [ { iot_mqtt: {} }, { iot_mqtt: {} } ] } }\noutput: { websocket_broadcast: {} }": "its input has 2 iot_mqtt",
	} {
		if err := (triggers.Maker{Template: []byte(template)}).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", template, err, want)
		}
	}
}
