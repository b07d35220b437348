package tests

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"regexp"
	"runtime"
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
