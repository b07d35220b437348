package tests

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The commands of docs/triggers.md, as they stand there.
func TestTriggersPage(t *testing.T) {
	t.Parallel()
	w := openWalkthrough(t, "triggers.md")
	w.write("root.yaml", w.block("yaml", "state_dir: state"))
	cast := w.cast()

	made := w.run(w.block("sh", `"name": "telemetry"`))
	mustName(t, strings.ReplaceAll(made, `": `, `":`), `"id":"telemetry"`, `"size":"10"`, `"cutoff":"1s"`, `"status":"ACTIVE"`)
	c := connectGo(t, cast.url("/telemetry"))
	w.run(w.block("sh", "mosquitto_pub"))
	if got, _ := c.waitEntries(1); string(got[0].payload) != `{"temperature": 61}` || got[0].device != "boiler" {
		t.Errorf("received %+v", got[0])
	}
	changed := w.run(w.block("sh", ":resume"))
	mustName(t, strings.ReplaceAll(changed, `": `, `":`), `"mqttTopic":"$devices/+/state"`, `"status":"PAUSED"`, `"triggers":[{"id":"telemetry"`, `"description":"Delete trigger"`)
	if strings.Contains(changed, `"code"`) || len(cast.streams()) > 0 {
		t.Errorf("streams %v, and it printed\n%s", cast.streams(), changed)
	}
}

// The template that the page shows as one of your own becomes a stream.
func TestTriggersPageTemplate(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/triggers.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)\n```yml\n(.*?\n)```\n").FindAllStringSubmatch(string(text), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d templates", len(blocks))
	}
	m := newManaged(t)
	m.env = append(os.Environ(), "MQTT_USER=me", "MQTT_PASSWORD=secret")
	m.launch("streams", "-o", writeFile(t, m.root("trigger_template: "+writeFile(t, blocks[1][1]))))
	m.waitReady()
	m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry"))
}
