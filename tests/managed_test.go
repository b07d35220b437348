package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// managed is a process in streams mode with a management API and a broker of its own.
type managed struct {
	*iotcast
	api, mqtt string // host:port
	dir       string // of the state, and of what the broker keeps
	triggers  triggers.TriggerServiceClient
}

// runManaged runs one with more settings of the management API. Its registry is home, whose device boiler has sitePassword.
func runManaged(t *testing.T, settings ...string) *managed {
	t.Helper()
	m := newManaged(t)
	m.launch("streams", "-o", writeFile(t, m.root(settings...)))
	m.waitReady()
	m.post("/iot-devices/v1/registries", `{"name": "home"}`)
	m.post("/iot-devices/v1/devices", fmt.Sprintf(`{"registryId": "home", "name": "boiler", "password": %q}`, sitePassword))
	return m
}

func newManaged(t *testing.T) *managed {
	t.Helper()
	m := &managed{iotcast: newIotcast(t), api: freeAddress(t), mqtt: freeAddress(t), dir: t.TempDir()}
	conn, err := grpc.NewClient(m.api, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	m.triggers = triggers.NewTriggerServiceClient(conn)
	return m
}

func (m *managed) root(settings ...string) string {
	return root(m.gateway, m.http) + fmt.Sprintf(`
mqtt_broker: { address: %q, storage_file: %q }
management_api:
  address: %q
  state_dir: %q
`, m.mqtt, filepath.Join(m.dir, "broker.db"), m.api, m.dir) + indented(settings)
}

func indented(lines []string) (text string) {
	for _, one := range lines {
		text += "  " + one + "\n"
	}
	return text
}

// rest calls the management API.
func (m *managed) rest(method, path, body string) (status int, answer string) {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), method, "http://"+m.api+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := apiClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// post makes or changes something, and returns it.
func (m *managed) post(path, body string) map[string]any {
	m.t.Helper()
	return m.change(http.MethodPost, path, body)
}

func (m *managed) change(method, path, body string) map[string]any {
	m.t.Helper()
	status, answer := m.rest(method, path, body)
	var op struct {
		Done     bool
		Response map[string]any
	}
	if err := json.Unmarshal([]byte(answer), &op); err != nil || status != http.StatusOK || !op.Done {
		m.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return op.Response
}

// pub publishes as the device.
func (m *managed) pub(topic, payload string) {
	m.t.Helper()
	host, port, _ := net.SplitHostPort(m.mqtt)
	out, code := runProgram(m.t, "mosquitto_pub", "-h", host, "-p", port, "-u", "boiler", "-P", sitePassword,
		"-q", "1", "-t", topic, "-m", payload)
	if code != 0 {
		m.t.Fatalf("mosquitto_pub: exit code %d\n%s", code, out)
	}
}

// telemetry is what a trigger on a topic of the registry is made by.
func telemetry(topic, path string) string {
	return fmt.Sprintf(`{"name": "telemetry", "rule": {"iotMessage": {"registryId": "home", "mqttTopic": %q, "gatewayWebsocketBroadcast": {"gatewayId": "main", "path": %q}}}}`, topic, path)
}
