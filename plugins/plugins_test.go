package plugins_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	_ "github.com/redpanda-data/connect/v4/public/components/prometheus"

	"github.com/iotcast/iotcast/internal/reserve"
	"github.com/iotcast/iotcast/plugins"
)

func write(t *testing.T, yaml string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := reserve.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// TestMainOfOnesOwn is a binary of somebody else's: broker, trigger and gateway
// in one process, by plugins.Run.
func TestMainOfOnesOwn(t *testing.T) {
	gateway, broker, lines := freeAddress(t), freeAddress(t), freeAddress(t)
	config := write(t, fmt.Sprintf(`
http: { enabled: false }
logger: { level: ERROR }
mqtt_broker: { address: %[2]s }
websocket_gateways:
  - label: main
    address: %[1]s
    viewer: /
    routes: [ { path: /telemetry } ]
input:
  socket_server: { network: tcp, address: %[3]s, scanner: { lines: {} } }
pipeline:
  processors:
    - iot_trigger: { broker_id: b, topic: lines }
output:
  websocket_broadcast: { gateway: main, path: /telemetry }
`, gateway, broker, lines))

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan int, 1)
	go func() {
		ended <- plugins.Run(ctx, service.CLIOptSetArgs("mine", "run", config))
	}()

	var ws *websocket.Conn
	for ws == nil {
		ws, _, _ = websocket.Dial(ctx, "ws://"+gateway+"/telemetry", nil)
	}
	var nc net.Conn
	for nc == nil {
		nc, _ = net.Dial("tcp", lines)
	}
	w := bufio.NewWriter(nc)
	_, _ = w.WriteString("a reading\n")
	_ = w.Flush()
	_, p, err := ws.Read(ctx)
	if err != nil || !strings.Contains(string(p), `"broker_id":"b","mqtt_topic":"lines","payload":"YSByZWFkaW5n"`) {
		t.Fatalf("%s %v", p, err)
	}
	if c, err := net.Dial("tcp", broker); err != nil {
		t.Error(err)
	} else {
		_ = c.Close()
	}
	_ = nc.Close()
	_, port, _ := net.SplitHostPort(broker)
	if page := get(t, "http://"+gateway+"/"); !strings.Contains(page, `"publish":"mosquitto_pub -p `+port+`"`) {
		t.Errorf("the viewer does not tell how to publish at port %s", port)
	}

	cancel() // the graceless end; SIGTERM is tested on the binary
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("closed with %v", err)
	}
	<-ended
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestOptions: Benthos' own RunCLI knows the fields.
func TestOptions(t *testing.T) {
	for yaml, want := range map[string]int{
		"mqtt_broker: {}\nwebsocket_gateways: [ { label: a, routes: [ { path: /x } ] } ]":             0,
		"websocket_gateways: [ { label: a, routes: [ { path: x } ] } ]":                               1,
		"websocket_gateways: [ { label: a, routes: [] } ]":                                            1,
		"websocket_gateways: [ { routes: [ { path: /x } ] } ]":                                        1,
		"websocket_gateways: [ { label: a, unknown: 1, routes: [ { path: /x } ] } ]":                  1,
		"websocket_gateways: [ { label: a, routes: [{path: /x}]}, {label: a, routes: [{path: /x}]} ]": 1,
		"websocket_gateways: [ { label: a, routes: [ { path: /x }, { path: /y }, { path: /x } ] } ]":  1,
		"websocket_gateways: [ { label: a, viewer: /x, routes: [ { path: /x } ] } ]":                  1,
		"websocket_gateways: [ { label: a, viewer: /, routes: [ { path: /x }, { path: /y } ] } ]":     0,
		"websocket_gateways: [ {label: a, routes: [{path: /x}]}, {label: b, routes: [{path: /x}]} ]":  0,
		"connection_api: { address: '127.0.0.1:8081' }":                                               0,
		"connection_api: { address: ':8081' }":                                                        1,
		"mqtt_broker: { address: nowhere }":                                                           1,
	} {
		code, err := service.RunCLIToCode(t.Context(), append(plugins.Options(),
			service.CLIOptSetArgs("mine", "lint", write(t, yaml)))...)
		if err != nil || code != want {
			t.Errorf("%s: code %d, %v", yaml, code, err)
		}
	}
}

// TestVariables: what commands read, they look at.
func TestVariables(t *testing.T) {
	t.Setenv("SOME_PASSWORD", "12345678")
	const unquoted, quoted = "input: { iot_mqtt: { broker_id: b, password: ${SOME_PASSWORD} } }\n", "input: { iot_mqtt: { broker_id: b, password: '${SOME_PASSWORD}' } }\n"
	file, fine := write(t, unquoted), write(t, quoted)
	page := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(page, []byte("# A page\n\n```yaml\n"+unquoted+"```\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"lint", file}, file + "(1,1)"},
		{[]string{"lint", filepath.Dir(file) + "/..."}, file + "(1,1)"},
		{[]string{"lint", page}, page + "(4,1)"},
		{[]string{"lint", fine}, ""},
		{[]string{"run", file}, file + "(1,1)"},
		{[]string{"run", "-w", file}, file + "(1,1)"},
		{[]string{"run", "-r", file, fine}, file + "(1,1)"},
		{[]string{"-c", file}, file + "(1,1)"},
		{[]string{"streams", "-o", file}, file + "(1,1)"},
		{[]string{"streams", filepath.Dir(file)}, file + "(1,1)"},
	} {
		args := service.CLIOptSetArgs(append([]string{"mine"}, test.args...)...)
		_, err := service.RunCLIToCode(t.Context(), append(plugins.Options(), args)...)
		if (test.want == "") != (err == nil) || err != nil && (!strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "12345678")) {
			t.Errorf("%v: %v, want %s", test.args, err, test.want)
		}
	}
}

// TestTakenMetric: Prometheus panics over a name that is taken.
func TestTakenMetric(t *testing.T) {
	stderr, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	before := os.Stderr
	os.Stderr = w
	code := plugins.Run(t.Context(), service.CLIOptSetArgs("mine", "run", write(t, fmt.Sprintf(`
http: { enabled: false }
logger: { level: NONE }
metrics: { prometheus: {} }
websocket_gateways: [ { label: main, address: %q, routes: [ { path: /x } ] } ]
input: { generate: { mapping: root = 1 } }
pipeline: { processors: [ { metric: { type: counter, name: websocket_connections, labels: { a: b } } } ] }
output: { drop: {} }
`, freeAddress(t)))))
	os.Stderr = before
	_ = w.Close()
	text, err := io.ReadAll(stderr)
	if err != nil {
		t.Fatal(err)
	}
	if code != 1 || !strings.Contains(string(text), `metric "websocket_connections"`) || strings.Contains(string(text), "goroutine") {
		t.Errorf("code %d: %s", code, text)
	}
}
