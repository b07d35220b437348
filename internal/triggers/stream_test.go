package triggers_test

import (
	"os"
	"strings"
	"testing"

	"github.com/iotcast/iotcast/internal/triggers"
)

// own is a template of somebody's own: TLS, a batch that may be larger, another
// output beside, comments, and environment variables.
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

func TestRender(t *testing.T) {
	qos := 2
	for name, tt := range map[string]struct {
		trigger    triggers.Trigger
		template   []byte
		connection triggers.Connection
	}{
		"device":  {device, triggers.Template, triggers.Connection{}},
		"broker":  {broker, triggers.Template, triggers.Connection{URLs: []string{"ssl://a:8883", "ssl://b:8883"}, QoS: &qos, ClientID: "mine"}},
		"own":     {device, []byte(own), triggers.Connection{}},
		"ownurls": {broker, []byte(own), triggers.Connection{URLs: []string{"tcp://localhost:1884"}}},
	} {
		text, err := triggers.Render(tt.trigger, tt.template, tt.connection)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "stream_"+name+".yaml", text)
	}
}

// TestServiceAccount: the output has the field only if the trigger has one.
func TestServiceAccount(t *testing.T) {
	tt := device
	for account, want := range map[string]bool{"": false, "sa-1": true} {
		tt.Rule.ServiceAccountID = account
		text, err := triggers.Render(tt, triggers.Template, triggers.Connection{})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(text), "service_account_id: sa-1\n"); got != want || strings.Contains(string(text), "service_account_id") != want {
			t.Errorf("account %q:\n%s", account, text)
		}
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

func TestRenderRefusesTemplates(t *testing.T) {
	for template, want := range map[string]string{
		"":           "no stream",
		"- a":        "no stream",
		"input: [":   "did not find",
		"output: {}": "its input has 0 iot_mqtt: a trigger has one",
		"input: { iot_mqtt: {} }\noutput: { drop: {} }":                                                              "its output has 0 websocket_broadcast",
		"input: { broker: { inputs: [ { iot_mqtt: {} }, { iot_mqtt: {} } ] } }\noutput: { websocket_broadcast: {} }": "its input has 2 iot_mqtt",
	} {
		_, err := triggers.Render(device, []byte(template), triggers.Connection{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", template, err, want)
		}
	}
}
