package tests

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// configMap is a directory whose files are exchanged as Kubernetes does it: all by
// one link to a new directory, and the old directory is removed.
type configMap struct {
	t     *testing.T
	dir   string
	swaps int
}

func (m *configMap) path(name string) string { return filepath.Join(m.dir, name) }

func (m *configMap) swap(name, content string) {
	m.t.Helper()
	must := func(err error) {
		if err != nil {
			m.t.Helper()
			m.t.Fatal(err)
		}
	}
	m.swaps++
	link, next := m.path("..data"), m.path(fmt.Sprintf("..%d", m.swaps))
	before, _ := os.Readlink(link)
	must(os.Mkdir(next, 0o700))
	must(os.WriteFile(filepath.Join(next, name), []byte(content), 0o600))
	must(os.Symlink(filepath.Base(next), link+"_tmp"))
	must(os.Rename(link+"_tmp", link))
	if before == "" {
		must(os.Symlink(filepath.Join("..data", name), m.path(name)))
		return
	}
	must(os.RemoveAll(m.path(before)))
}

// ticking is a stream that sends a text ten times a second.
func ticking(text, output string) string {
	return fmt.Sprintf(`
input: { generate: { interval: 100ms, mapping: 'root = %q' } }
pipeline: { processors: [ { iot_trigger: { broker_id: b, topic: t } } ] }
output: { broker: { outputs: [ { websocket_broadcast: { %s } } ] } }
`, text, output)
}

const toTelemetry = "gateway: main, path: /telemetry"

// receive reads until a message has the text as its payload.
func receive(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	payload := fmt.Sprintf("%q", base64.StdEncoding.EncodeToString([]byte(text)))
	eventually(t, "a message "+text+" comes", func() bool {
		_, envelope, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(envelope), payload)
	})
}

// run -w takes over what can take effect, says what cannot, and never ends a stream
// in whose place it has no other. The connection stays open through all of it.
func TestWatch(t *testing.T) {
	t.Parallel()
	m := &configMap{t: t, dir: t.TempDir()}
	c := newIotcast(t)
	base := root(c.gateway, c.http)
	m.swap("config.yaml", base+ticking("one", toTelemetry))
	c.launch("run", "-w", m.path("config.yaml"))
	c.waitLog("Launching")
	c.waitReady()
	ws := c.page("/telemetry")
	receive(t, ws, "one")

	for _, text := range []string{"two", "three", "four"} {
		m.swap("config.yaml", base+ticking(text, toTelemetry))
		receive(t, ws, text)
	}

	// A gateway: it changes, and the stream does not. What nobody changes is named.
	updates := 3
	updated := func() bool { return strings.Count(c.out.String(), "Updated main config") >= updates }
	eventually(t, "the log tells of the stream that runs", updated)
	guarded := root(c.gateway, c.http, `tokens: { secret: "a secret of thirty-two bytes....." }`, "routes: [ { path: /telemetry } ]")
	guarded = strings.Replace(guarded, "    routes: [ { path: /telemetry }, { path: /alarms } ]\n", "", 1)
	guarded = strings.Replace(guarded, "level: INFO", "level: WARN", 1)
	m.swap("config.yaml", guarded+ticking("four", toTelemetry))
	c.waitLog("websocket_gateways.0.routes, websocket_gateways.0.tokens")
	c.waitLog("take effect at a restart only")
	c.waitLog("fields=logger.level")
	receive(t, ws, "four")
	if status := c.status("/telemetry", nil); status != http.StatusUnauthorized {
		t.Errorf("without a token the answer is %d", status)
	}
	if updates++; updated() {
		t.Error("it says that it has updated the stream, and nothing of that has changed")
	}
	if strings.Contains(c.out.String(), "thirty-two") {
		t.Error("the log has the secret")
	}
	m.swap("config.yaml", guarded+ticking("five", toTelemetry))
	receive(t, ws, "five")

	// A route and the output to it in one save; one that is not there, and a config that
	// Benthos refuses.
	m.swap("config.yaml", strings.Replace(base, "/alarms", "/new", 1)+ticking("six", "gateway: main, path: /new"))
	eventually(t, "the new route is there", func() bool { return c.status("/new", nil) == http.StatusSwitchingProtocols })
	receive(t, c.page("/new"), "six")
	m.swap("config.yaml", base+ticking("six", "gateway: main, path: /new"))
	c.waitLog(`path \"/new\"`)
	receive(t, c.page("/new"), "six")
	m.swap("config.yaml", base+ticking("five", toTelemetry))
	receive(t, ws, "five")
	m.swap("config.yaml", base+ticking("seven", toTelemetry+", unknown: 1"))
	c.waitLog("unknown not recognised")
	receive(t, ws, "five")

	// A metric that Prometheus cannot have, and one that it can.
	metric := func(text, fields string) string {
		return strings.Replace(base+ticking(text, toTelemetry), "processors: [", "processors: [ { metric: { "+fields+" } },", 1)
	}
	m.swap("config.yaml", metric("six", "type: counter, name: websocket_connections"))
	c.waitLog("the name is taken by a metric of the process")
	receive(t, ws, "five")
	m.swap("config.yaml", metric("six", "type: counter, name: mine, labels: { stream: x }"))
	receive(t, ws, "six")
	m.swap("config.yaml", metric("five", "type: gauge, name: mine, value: '1'"))
	c.waitLog("the name is taken by a counter")
	receive(t, ws, "six")
	m.swap("config.yaml", base+ticking("five", toTelemetry))
	receive(t, ws, "five")

	// One that lint likes and that cannot be built: the old stream comes back, and the old
	// gateways.
	updates = strings.Count(c.out.String(), "Updated main config") + 1
	m.swap("config.yaml", strings.Replace(base, "/alarms", "/new", 1)+ticking("eight", toTelemetry+" } }, { file: { path: x, codec: nonsense"))
	c.waitLog("the old one is put back")
	eventually(t, "the old config is in use", updated)
	eventually(t, "the old routes are there", func() bool { return c.status("/alarms", nil) == http.StatusSwitchingProtocols })
	eventually(t, "the new route is gone", func() bool { return c.status("/new", nil) == http.StatusNotFound })
	receive(t, c.page("/telemetry"), "five")
	m.swap("config.yaml", base+ticking("nine", toTelemetry))
	receive(t, ws, "nine")
}

// A stream of streams mode, in a ConfigMap, too.
func TestWatchStreams(t *testing.T) {
	t.Parallel()
	m := &configMap{t: t, dir: t.TempDir()}
	c := newIotcast(t)
	m.swap("one.yaml", ticking("one", toTelemetry))
	main := writeFile(t, root(c.gateway, c.http))
	c.launch("streams", "-w", "-o", main, m.path("one.yaml"))
	c.waitLog("Launching")
	c.waitReady()
	ws := c.page("/telemetry")
	receive(t, ws, "one")
	for _, text := range []string{"two", "three", "four"} {
		m.swap("one.yaml", ticking(text, toTelemetry))
		receive(t, ws, text)
	}

	// The root config changes the gateways.
	if err := os.WriteFile(main, []byte(root(c.gateway, c.http, "queue_bytes: 20000")), 0o600); err != nil {
		t.Fatal(err)
	}
	c.waitLog("fields=websocket_gateways.0.queue_bytes")
	receive(t, ws, "four")
}
