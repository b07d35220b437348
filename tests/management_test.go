package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The commands of docs/management.md, as they stand there.
func TestManagementPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/management.md")
	if err != nil {
		t.Fatal(err)
	}
	w := &walkthrough{t: t, dir: t.TempDir(), http: freeAddress(t)}
	api, mqtt, gateway := freeAddress(t), freeAddress(t), freeAddress(t)
	elsewhere := strings.NewReplacer(
		"127.0.0.1:4196", api, "127.0.0.1:8080", gateway, "mqtt_broker: {}", "mqtt_broker: { address: \""+mqtt+"\" }",
		"management_api: #", "http: { address: \""+w.http+"\" }\nmanagement_api:\n  address: \""+api+"\" #",
		"mosquitto_pub", "mosquitto_pub -p "+mqtt[strings.LastIndex(mqtt, ":")+1:],
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
	w.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "API=http://"+api)
	w.write("root.yaml", w.block("yaml", "state_dir: state"))
	cast := &iotcast{t: t, http: w.http}
	cast.process = w.start(w.block("sh", "iotcast streams"), "iotcast streams")
	cast.waitLog("Launching")
	cast.waitReady()

	made := w.run(w.block("sh", `"topicAliases"`))
	for _, want := range []string{`"id":"home"`, `"id":"boiler"`, `"cellar/":"$devices/boiler/"`, `"done":true`} {
		if !strings.Contains(strings.ReplaceAll(made, `": `, `":`), want) {
			t.Errorf("no %s in:\n%s", want, made)
		}
	}
	seen := w.run(w.block("sh", "deviceView=FULL"))
	for _, want := range []string{`"lastPubActivityTime"`, `"lastAuthIp":"127.0.0.1"`, `"status":"DISABLED"`} {
		if !strings.Contains(strings.ReplaceAll(seen, `": `, `":`), want) {
			t.Errorf("no %s in:\n%s", want, seen)
		}
	}
	if printed, err := w.try("mosquitto_pub -h 127.0.0.1 -p " + mqtt[strings.LastIndex(mqtt, ":")+1:] + " -u boiler -P Correct-Horse-Battery-2 -t cellar/events -m x"); err == nil {
		t.Errorf("a device of a disabled registry has published: %s", printed)
	}
	w.run(w.block("sh", "state.yaml"))
	document, err := os.ReadFile(filepath.Join(w.dir, "state.yaml"))
	if err != nil || !strings.Contains(string(document), "id: boiler") || strings.Contains(string(document), "Correct-Horse") {
		t.Errorf("%v\n%s", err, document)
	}
}
