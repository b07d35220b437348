package control

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/iotcast/iotcast/internal/access"
)

// checking checks a trigger, and returns what is wrong with which field, a line each.
func (d *desk) checking(body string, header ...string) (status int, yaml, found string) {
	d.t.Helper()
	status, text := d.rest(d.t, "POST", "/triggers/v1/triggers:check", body, header...)
	var answer struct {
		YAML     string
		Message  string
		Problems []struct{ Field, Description string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		d.t.Fatal(text, err)
	}
	for _, p := range answer.Problems {
		found += p.Field + " " + p.Description + "\n"
	}
	return status, answer.YAML, answer.Message + found
}

// ruleOn is a rule of a trigger in the JSON of REST.
func ruleOn(registry, topic, path string) string {
	return fmt.Sprintf(`{"iotMessage":{"registryId":%q,"mqttTopic":%q,"gatewayWebsocketBroadcast":{"gatewayId":"main","path":%q}}}`, registry, topic, path)
}

// TestCheckTrigger: what would be refused is said, with the field, and nothing is changed.
func TestCheckTrigger(t *testing.T) {
	f := newFakeStreams()
	d := newDesk(t, func(c *Config) {
		c.Streams, c.retry, c.BrokerURL = f, 1, "tcp://127.0.0.1:1"
		c.MaskStream = func(config []byte) ([]byte, error) {
			return []byte(strings.ReplaceAll(string(config), c.Directory.ProcessPassword(), "masked")), nil
		}
	})
	eventually(t, "ready", func() bool { return d.server.Ready() == nil })
	d.registry("home")
	good := ruleOn("home", "", "/telemetry")
	for _, c := range []struct{ body, want string }{
		{`{"name":"telemetry","rule":` + good + `}`, ""},
		{`{"name":"T T","rule":` + ruleOn("home", "a/#/b", "/x") + `}`, "name is \"T T\"\nrule.iot_message.mqtt_topic is not possible"},
		{`{"name":"a/b","rule":` + ruleOn("home", "a/#/b", "/x") + `}`, "name is \"a/b\"\nrule.iot_message.mqtt_topic is not possible"},
		{`{"name":"telemetry","rule":` + ruleOn("none", "", "/x") + `}`, "rule.iot_message.registry_id there is no such registry"},
		{`{"name":"telemetry","rule":` + ruleOn("home", "", "/refused") + `}`, "rule makes a stream that is refused: (3,1) refused"},
		{`{}`, "rule is missing"},
		{`{"name":"telemetry","rule":{"timer":{}}}`, "rule.timer.action is missing"},
	} {
		code, yaml, found := d.checking(c.body)
		lines := strings.Split(c.want, "\n")
		for _, line := range lines {
			if !strings.Contains(found, line) || code != 200 || c.want == "" && found != "" {
				t.Errorf("%s: %d\n%s\nwant %s", c.body, code, found, line)
			}
		}
		if strings.Contains(c.body, "iotMessage") && (!strings.Contains(yaml, "masked") || strings.Contains(yaml, d.cfg.Directory.ProcessPassword())) {
			t.Errorf("%s: %s", c.body, yaml)
		}
	}
	for body, want := range map[string]string{`{`: "not the JSON", `{"naem":""}`: "naem", `{"triggerId":"none"}`: `"none"`, `{"triggerId":""}`: "trigger_id"} {
		if code, _, found := d.checking(body); code < 400 || code >= 500 || !strings.Contains(found, want) {
			t.Errorf("%s: %d %s", body, code, found)
		}
	}
	if code, text := d.rest(t, "GET", "/triggers/v1/triggers", ""); code != 200 || strings.Contains(text, "telemetry") || len(f.ids()) > 0 {
		t.Errorf("a check has made something: %s %v", text, f.ids())
	}

	if code, text := d.rest(t, "POST", "/triggers/v1/triggers", `{"name":"telemetry","rule":`+good+`}`); code != 200 {
		t.Fatal(text)
	}
	if _, yaml, found := d.checking(`{"triggerId":"telemetry","updateMask":"rule","rule":` + ruleOn("home", "", "/other") + `}`); found != "" || !strings.Contains(yaml, "path: /other") {
		t.Error(found, yaml)
	}
	if strings.Contains(f.config("telemetry"), "/other") {
		t.Error("the check has changed the stream")
	}
}

// TestCheckTriggerTakesRoles: those that the change takes, on the trigger and on what it listens to and acts as.
func TestCheckTriggerTakesRoles(t *testing.T) {
	f := newFakeStreams()
	d := newDesk(t, withTokens(t,
		access.Grant{Account: "looks", Role: access.ViewerOfAll}, access.Grant{Account: "changes", Role: access.EditorOfAll},
		access.Grant{Account: "one", Role: access.EditorOfAll, Resources: []string{"telemetry"}}, access.Grant{Account: "admin", Role: access.AdminOfAll},
	), func(c *Config) { c.Streams, c.retry = f, 1 })
	eventually(t, "ready", func() bool { return d.server.Ready() == nil })
	body := `{"name":"telemetry","rule":` + ruleOn("home", "", "/telemetry") + `}`
	change := `{"triggerId":"telemetry","updateMask":"description","description":"x"}`
	as := func(account string) []string {
		return []string{"Authorization", "Bearer " + sign(t, account, time.Now().Add(time.Hour))}
	}
	if code, text := d.rest(t, "POST", "/triggers/v1/triggers", body, as("admin")...); code != 200 {
		t.Fatal(text)
	}
	for _, c := range []struct {
		account, body string
		want          int
	}{
		{"looks", body, 403},
		{"one", body, 403},
		{"changes", body, 200},
		{"nobody", body, 403},
		{"looks", change, 403},
		{"one", change, 200},
		{"changes", change, 200},
		{"changes", strings.Replace(body, `"path"`, `"serviceAccountId":"robot","path"`, 1), 403},
		{"admin", strings.Replace(body, `"path"`, `"serviceAccountId":"robot","path"`, 1), 200},
	} {
		if code, _, found := d.checking(c.body, as(c.account)...); code != c.want {
			t.Errorf("%s %s: %d %s", c.account, c.body, code, found)
		}
	}
	if code, _, _ := d.checking(body); code != 401 {
		t.Error(code)
	}
}
