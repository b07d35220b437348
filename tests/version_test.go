package tests

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// The program says of which version it is wherever one asks.
func TestVersion(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^Version: (\S+)$`).FindSubmatch(out)
	if found == nil {
		t.Fatalf("--version does not say it: %s", out)
	}
	want := string(found[1])
	cast := runStreams(t)
	var answer struct{ Version string }
	if err := json.Unmarshal([]byte(cast.must(http.MethodGet, "/version", "")), &answer); err != nil || answer.Version != want {
		t.Errorf("/version says %+v, %v; --version %s", answer, err, want)
	}
	for _, label := range []string{`version="` + want + `"`, `goversion="` + runtime.Version() + `"`} {
		if n := cast.metric("iotcast_build_info", label); n != 1 {
			t.Errorf("iotcast_build_info with %s is %v", label, n)
		}
	}
}

// Benthos has words of its own for what a program built with it is, and for its commands.
func TestHelp(t *testing.T) {
	t.Parallel()
	help := func(arguments ...string) string {
		out, err := exec.Command(binary, append(arguments, "--help")...).Output()
		if err != nil {
			t.Fatal(arguments, err)
		}
		return string(out)
	}
	all := help()
	mustName(t, all, "readings from MQTT devices", "iotcast quickstart")
	if strings.Contains(all, "mundane") || strings.Contains(all, "kafka") || strings.Contains(all, " a iotcast") {
		t.Errorf("the help is that of Benthos:\n%s", all)
	}
	mustName(t, help("run"), "iotcast run [command options] [FILE]\n")
	mustName(t, help("lint"), "iotcast lint [command options] FILE...\n")
	mustName(t, help("template", "lint"), "iotcast templates") // another lint
	streams := help("streams")
	mustName(t, streams, "[FILE | DIRECTORY]...", "The config of -o is the root config. It has what all streams share", "websocket_gateways")
	if strings.Contains(streams, "should only contain") {
		t.Errorf("the help of streams is that of Benthos:\n%s", streams)
	}
}

// Man pages have the words of the help, the lines of examples as they are, and the environment variables.
func TestManPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := exec.Command(binary, "__man", dir).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	for page, wanted := range map[string][]string{
		"iotcast.1":         {".EX\niotcast quickstart ", "readings from MQTT devices"},
		"iotcast-streams.1": {"FILE | DIRECTORY", ".EX\niotcast streams -o ./root.yaml\niotcast streams -o ./root.yaml ./streams\n", "websocket_gateways"},
		"iotcast-mqtt.1":    {"(environment: IOTCAST_MQTT_PASSWORD)", "(environment: IOTCAST_MQTT_URL)"},
		"iotcast-device.1":  {"(environment: IOTCAST_TOKEN)"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil {
			t.Fatal(err)
		}
		mustName(t, string(text), wanted...)
	}
}
