package tests

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// idle is a stream that does no harm to anyone.
const idle = `{ input: { generate: { mapping: "root = {}", interval: 1h } }, output: { drop: {} } }`

// A page that a developer visits neither makes a stream nor sees one, whatever
// it sends; nor does one whose host name has come to mean this machine.
func TestPagesOfOthersMakeNoStreams(t *testing.T) {
	t.Parallel()
	cast := runStreams(t)
	cast.must(http.MethodPost, "/streams/mine", idle)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<p>attack</p>"))
	}))
	t.Cleanup(page.Close)

	for name, host := range map[string][]string{"foreign page": nil, "DNS rebinding": {"rebound.example"}} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"clients/attack.mjs", toolPath("chromium"), page.URL, "http://" + cast.http, idle}, host...)
			cmd := exec.CommandContext(t.Context(), toolPath("node"), args...)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			told := map[string]string{}
			if err := json.Unmarshal(out, &told); err != nil || len(told) != 5 {
				t.Fatalf("%s: %v", out, err)
			}
			for attempt, answer := range told {
				if strings.Contains(answer, "200") || strings.Contains(answer, "generate") {
					t.Errorf("%s: %s", attempt, answer)
				}
			}
			if ids := cast.streams(); !slices.Equal(ids, []string{"mine"}) {
				t.Errorf("streams %v after %s", ids, out)
			}
		})
	}
	// All of it has arrived.
	if n := strings.Count(cast.out.String(), "Request to the HTTP API refused"); n < 8 {
		t.Errorf("%d requests were refused:\n%s", n, cast.out.tail())
	}
}

// The commands of streams log in, and say no secret.
func TestCommandsLogIn(t *testing.T) {
	t.Parallel()
	const secret = "only-I-know"
	b := startMosquitto(t)
	d := &desk{iotcast: newIotcast(t)}
	dir := t.TempDir()
	stream := filepath.Join(dir, "telemetry.yaml")
	if err := os.WriteFile(stream, []byte(trigger(b, "broker_id: factory", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	place := []string{"IOTCAST_API=http://" + d.http}
	login := append(slices.Clone(place), "IOTCAST_API_USER=me", "IOTCAST_API_PASSWORD="+secret)
	d.iotcast.env = append(os.Environ(), login...)
	d.launch("streams", "-o", writeFile(t, root(d.gateway, d.http)+`http_guard: { username: "${IOTCAST_API_USER}", password: "${IOTCAST_API_PASSWORD}" }`), dir)
	d.waitLog("Launching")
	d.env = login
	d.do("stream", "update", "telemetry", stream)

	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.env = place
	d.do("stream", "update", "telemetry", stream, "--check", "--api-user", "me", "--api-password-file", file)
	d.mustFail([]string{"IOTCAST_API_PASSWORD"}, "stream", "update", "telemetry", stream)
	d.mustFail([]string{"belong together"}, "stream", "update", "telemetry", stream, "--api-user", "me")
	d.env = append(slices.Clone(place), "IOTCAST_API_USER=me", "IOTCAST_API_PASSWORD=not-"+secret)
	d.mustFail([]string{"IOTCAST_API_USER"}, "stream", "update", "telemetry", stream)
	if strings.Contains(d.out.String(), secret) {
		t.Error("the log holds the password")
	}
}
