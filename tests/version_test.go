package tests

import (
	"encoding/json"
	"net/http"
	"os/exec"
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

// Benthos has words of its own for what a program built with it is.
func TestHelp(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	mustName(t, string(out), "readings from MQTT devices", "iotcast quickstart")
	if strings.Contains(string(out), "mundane") || strings.Contains(string(out), "kafka") {
		t.Errorf("the help is that of Benthos:\n%s", out)
	}
}
