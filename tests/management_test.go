package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The commands of docs/management.md, as they stand there.
func TestManagementPage(t *testing.T) {
	t.Parallel()
	w := openWalkthrough(t, "management.md")
	w.write("root.yaml", w.block("yaml", "state_dir: state"))
	w.cast()

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
	if printed, err := w.try("mosquitto_pub -p " + portOf(w.mqtt) + " -u boiler -P Correct-Horse-Battery-2 -t cellar/events -m x"); err == nil {
		t.Errorf("a device of a disabled registry has published: %s", printed)
	}
	w.run(w.block("sh", "state.yaml"))
	document, err := os.ReadFile(filepath.Join(w.dir, "state.yaml"))
	if err != nil || !strings.Contains(string(document), "id: boiler") || strings.Contains(string(document), "Correct-Horse") {
		t.Errorf("%v\n%s", err, document)
	}
}
