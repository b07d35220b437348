package tests

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// iotcast is a running binary with a gateway.
type iotcast struct {
	*process
	t       *testing.T
	gateway string // host:port
	http    string // host:port
	args    []string
	env     []string // nil: that of the tests
}

// root is the part of a configuration that lives as long as the process: one
// gateway with a route /telemetry, a route /alarms, and more lines of settings.
func root(gateway, http string, settings ...string) string {
	var more strings.Builder
	for _, s := range settings {
		more.WriteString("    " + s + "\n")
	}
	return fmt.Sprintf(`
http: { address: %q }
logger: { level: INFO, format: logfmt }
metrics: { prometheus: { add_process_metrics: true, add_go_metrics: true } }
websocket_gateways:
  - label: main
    address: %q
    routes: [ { path: /telemetry }, { path: /alarms } ]
%s`, http, gateway, more.String())
}

// trigger is a stream: input are the fields of iot_mqtt beside the address of
// the broker, output those of websocket_broadcast beside the gateway.
func trigger(b *broker, input, output string) string {
	if output == "" {
		output = "path: /telemetry"
	}
	return fmt.Sprintf(`
input:
  iot_mqtt:
    urls: [ %q ]
    %s
pipeline:
  processors: [ { iot_trigger: {} } ]
output:
  websocket_broadcast:
    gateway: main
    %s
`, b.url(), strings.ReplaceAll(input, "\n", "\n    "), strings.ReplaceAll(output, "\n", "\n    "))
}

// runIotcast runs one trigger, and returns when it is connected.
func runIotcast(t *testing.T, stream string, settings ...string) *iotcast {
	t.Helper()
	c := newIotcast(t)
	c.launch("run", writeFile(t, root(c.gateway, c.http, settings...)+stream))
	c.waitLog("Launching") // before, Benthos is still adding to the HTTP API that waitReady calls
	c.waitReady()
	return c
}

// runStreams runs in streams mode, without any stream.
func runStreams(t *testing.T, settings ...string) *iotcast {
	t.Helper()
	c := newIotcast(t)
	c.launch("streams", "-o", writeFile(t, root(c.gateway, c.http, settings...)))
	c.waitLog("Launching") // before, Benthos answers /ready but not yet /streams/{id}
	c.waitReady()
	return c
}

func newIotcast(t *testing.T) *iotcast {
	return &iotcast{t: t, gateway: freeAddress(t), http: freeAddress(t)}
}

func (c *iotcast) launch(args ...string) {
	c.t.Helper()
	c.args = args
	c.relaunch()
}

// relaunch starts it again, as it was started.
func (c *iotcast) relaunch() {
	c.t.Helper()
	cmd := exec.Command(binary, c.args...)
	cmd.Env = c.env
	c.process = start(c.t, "iotcast", cmd)
}

func (c *iotcast) waitReady() {
	c.t.Helper()
	eventually(c.t, "iotcast is ready", func() bool {
		select {
		case <-c.done:
			c.t.Fatalf("iotcast has ended: %v\n%s", c.err, c.out.tail())
		default:
		}
		status, _ := c.tryRequest(http.MethodGet, "/ready", "")
		return status == http.StatusOK
	})
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "iotcast.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// url is the WebSocket URL of a path.
func (c *iotcast) url(path string) string { return "ws://" + c.gateway + path }

// request calls Benthos' HTTP API.
func (c *iotcast) request(method, path, body string) (status int, answer string) {
	c.t.Helper()
	status, answer = c.tryRequest(method, path, body)
	if status == 0 {
		c.t.Fatalf("%s %s: %s", method, path, answer)
	}
	return status, answer
}

var apiClient = &http.Client{Timeout: shutdownTimeout}

func (c *iotcast) tryRequest(method, path, body string) (status int, answer string) {
	req, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.http+path, strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	res, err := apiClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// must calls the HTTP API and fails unless the answer is 200.
func (c *iotcast) must(method, path, body string) string {
	c.t.Helper()
	status, answer := c.request(method, path, body)
	if status != http.StatusOK {
		c.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// metric is the sum of a metric over all label sets that contain labels, such
// as `reason="slow_consumer"`.
func (c *iotcast) metric(name, labels string) (sum float64) {
	c.t.Helper()
	line := regexp.MustCompile(`(?m)^` + name + `\{([^}]*)\} (\S+)$`)
	for _, m := range line.FindAllStringSubmatch(c.must(http.MethodGet, "/metrics", ""), -1) {
		if strings.Contains(m[1], labels) {
			v, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				c.t.Fatalf("metric %s: %v", m[0], err)
			}
			sum += v
		}
	}
	return sum
}

// waitLog waits until the log contains text.
func (c *iotcast) waitLog(text string) {
	c.t.Helper()
	eventually(c.t, "the log contains "+strconv.Quote(text), func() bool { return strings.Contains(c.out.String(), text) })
}

// terminate sends SIGTERM and expects a clean end.
func (c *iotcast) terminate() {
	c.t.Helper()
	began := time.Now()
	c.signal(syscall.SIGTERM)
	if code := c.exitCode(shutdownTimeout); code != 0 {
		c.t.Errorf("exit code %d after SIGTERM", code)
	}
	c.t.Logf("ended %v after SIGTERM", time.Since(began).Round(time.Millisecond))
}
