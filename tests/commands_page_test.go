package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The commands of docs/commands.md, as they stand there.
func TestCommandsPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	w := &walkthrough{t: t, dir: t.TempDir(), http: freeAddress(t)}
	api, mqtt, gateway := freeAddress(t), freeAddress(t), freeAddress(t)
	elsewhere := strings.NewReplacer(
		"127.0.0.1:8080", gateway, "mqtt_broker: {}", "mqtt_broker: { address: \""+mqtt+"\" }",
		"management_api: #", "http: { address: \""+w.http+"\" }\nmanagement_api:\n  address: \""+api+"\" #",
	)
	for _, m := range regexp.MustCompile("(?s)\n```(\\w+\n.*?\n)```\n").FindAllStringSubmatch(string(text), -1) {
		w.blocks = append(w.blocks, elsewhere.Replace(m[1]))
	}
	program, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(program, filepath.Join(bin, "iotcast")); err != nil {
		t.Fatal(err)
	}
	w.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "IOTCAST_ENDPOINT="+api, "IOTCAST_MQTT_URL=tcp://"+mqtt)
	w.write("root.yaml", w.block("yaml", "state_dir: state"))
	cast := &iotcast{t: t, http: w.http, gateway: gateway}
	cast.process = w.start(w.block("sh", "iotcast streams"), "iotcast streams")
	cast.waitReady()

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
