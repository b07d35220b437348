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

// The commands log in, and say no secret.
func TestCommandsLogIn(t *testing.T) {
	t.Parallel()
	const secret = "only-I-know"
	d := &desk{iotcast: newIotcast(t), broker: startMosquitto(t), dir: t.TempDir()}
	d.root = writeFile(t, root(d.gateway, d.http)+`http_guard: { username: "${IOTCAST_API_USER}", password: "${IOTCAST_API_PASSWORD}" }`)
	place := []string{"IOTCAST_API=http://" + d.http, "IOTCAST_STREAMS_DIR=" + d.dir, "IOTCAST_MQTT_URL=" + d.broker.url()}
	d.env = append(slices.Clone(place), "IOTCAST_API_USER=me", "IOTCAST_API_PASSWORD="+secret)
	d.start()
	d.do(createTelemetry...)
	d.do("stream", "update", "telemetry", filepath.Join(d.dir, "telemetry.yaml"))

	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.env = place
	d.do("trigger", "pause", "telemetry", "--api-user", "me", "--api-password-file", file)
	d.do("trigger", "resume", "telemetry", "--api-user", "me", "--api-password-file", file)
	d.mustFail([]string{"IOTCAST_API_PASSWORD"}, "trigger", "pause", "telemetry")
	d.mustFail([]string{"belong together"}, "trigger", "pause", "telemetry", "--api-user", "me")
	d.env = append(slices.Clone(place), "IOTCAST_API_USER=me", "IOTCAST_API_PASSWORD=not-"+secret)
	d.mustFail([]string{"IOTCAST_API_USER"}, "stream", "update", "telemetry", filepath.Join(d.dir, "telemetry.yaml"))
	if strings.Contains(d.out.String(), secret) {
		t.Error("the log holds the password")
	}
}
