package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The commands of docs/commands.md, as they stand there.
func TestCommandsPage(t *testing.T) {
	t.Parallel()
	w := openWalkthrough(t, "commands.md")
	w.write("root.yaml", w.block("yaml", "state_dir: state"))
	cast := w.cast()

	mustName(t, w.run(w.block("sh", "iotcast registry create")), "id: home\n", "id: boiler\n", "id: telemetry\n", "boiler  boiler  home")
	c := connectGo(t, cast.url("/telemetry"))
	subscriber := w.start(w.block("sh", "mqtt subscribe"), "iotcast")
	eventually(t, "subscribed", func() bool { return strings.Contains(subscriber.out.String(), "Subscribed.") })
	w.run(w.block("sh", "mqtt publish"))
	if got, _ := c.waitEntries(1); string(got[0].payload) != `{"temperature": 61}` || got[0].device != "boiler" {
		t.Errorf("received %+v", got[0])
	}
	eventually(t, "the subscriber has printed it", func() bool { return strings.Contains(subscriber.out.String(), `"payload":"{\"temperature\": 61}"`) })

	changed := w.run(w.block("sh", "add-labels"))
	mustName(t, changed, "kind: flat\n", "password: ", "cellar/  $devices/boiler/events/  boiler\n", "status: DISABLED\n")
	again := w.run(w.block("sh", "triggers.json"))
	mustName(t, again, "mqtt_topic: $devices/+/state\n", "status: PAUSED\n")
	var kept []struct{ Name string }
	if list, err := os.ReadFile(filepath.Join(w.dir, "triggers.json")); err != nil || json.Unmarshal(list, &kept) != nil || len(kept) != 1 || kept[0].Name != "telemetry" {
		t.Errorf("%v %s", err, list)
	}
}
