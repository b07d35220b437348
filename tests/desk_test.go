package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// desk is where somebody types commands for a process with a management API.
type desk struct {
	*iotcast
	broker *broker // of the triggers
	api    string  // the address of the management API
	root   string
	env    []string
}

// newDesk starts a process whose triggers are on a broker.
func newDesk(t *testing.T, b *broker, env ...string) *desk {
	t.Helper()
	return newDeskWith(t, b, "", env...)
}

// newDeskWith has one more setting of the gateway.
func newDeskWith(t *testing.T, b *broker, setting string, env ...string) *desk {
	t.Helper()
	d := &desk{iotcast: newIotcast(t), broker: b, api: freeAddress(t)}
	template := writeFile(t, fmt.Sprintf(`
input:
  iot_mqtt:
    urls: [ %q ]
    user: '${IOTCAST_MQTT_USER:}'
    password: '${IOTCAST_MQTT_PASSWORD:}'
    qos: 1
    clean_session: false
pipeline: { processors: [ { iot_trigger: {} } ] }
output: { websocket_broadcast: {} }
`, b.url()))
	d.root = writeFile(t, root(d.gateway, d.http, setting)+fmt.Sprintf(`
management_api: { address: %q, state_dir: %q, trigger_template: %q }
`, d.api, t.TempDir(), template))
	d.env = append([]string{"IOTCAST_API=http://" + d.http, "IOTCAST_ENDPOINT=" + d.api}, env...)
	d.start()
	return d
}

// newHome starts a process with a broker of its own, which lets in whom the management API names. Commands that speak MQTT find it.
func newHome(t *testing.T) *desk {
	t.Helper()
	d := &desk{iotcast: newIotcast(t), api: freeAddress(t)}
	mqtt := freeAddress(t)
	d.root = writeFile(t, root(d.gateway, d.http)+fmt.Sprintf(`
management_api: { address: %q, state_dir: %q }
mqtt_broker: { address: %q }
iot_registries: [ { id: fixed, devices: [ { id: pump } ] } ]
`, d.api, t.TempDir(), mqtt))
	d.env = []string{"IOTCAST_ENDPOINT=" + d.api, "IOTCAST_MQTT_URL=tcp://" + mqtt}
	d.start()
	return d
}

func (d *desk) start() {
	d.t.Helper()
	cmd := exec.Command(binary, "streams", "-o", d.root)
	cmd.Env = append(os.Environ(), d.env...)
	d.process = start(d.t, "iotcast", cmd)
	d.waitLog("Launching")
	d.waitReady()
}

// command runs iotcast with arguments and standard input, as typed.
func (d *desk) command(stdin string, args ...string) (stdout, stderr string, code int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), d.env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); cmd.ProcessState == nil || ctx.Err() != nil {
		d.t.Fatalf("iotcast %s: %v\n%s", strings.Join(args, " "), e, &err)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// do runs a command that must succeed without a word of warning.
func (d *desk) do(args ...string) (stdout string) {
	d.t.Helper()
	return d.doWith("", args...)
}

func (d *desk) doWith(stdin string, args ...string) (stdout string) {
	d.t.Helper()
	stdout, stderr, code := d.command(stdin, args...)
	if code != 0 || strings.Contains(stderr, "warning") {
		d.t.Fatalf("iotcast %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// mustFail runs a command that must fail, and name all of want.
func (d *desk) mustFail(want []string, args ...string) {
	d.t.Helper()
	stdout, stderr, code := d.command("", args...)
	if code == 0 || stdout != "" {
		d.t.Errorf("iotcast %s: exit code %d\n%s", strings.Join(args, " "), code, stdout)
	}
	mustName(d.t, stderr, want...)
}

// spawn runs a command beside the test, to its end.
func (d *desk) spawn(args ...string) *process {
	d.t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), d.env...)
	return start(d.t, "iotcast "+args[0], cmd)
}

// mosquittoPub publishes as a device does, by Mosquitto's own client.
func (d *desk) mosquittoPub(topic, payload string, qos int) {
	d.t.Helper()
	host, port, _ := strings.Cut(d.broker.addr, ":")
	if out, code := runProgram(d.t, "mosquitto_pub", "-h", host, "-p", port, "-q", strconv.Itoa(qos), "-t", topic, "-m", payload); code != 0 {
		d.t.Fatalf("mosquitto_pub: exit code %d\n%s", code, out)
	}
}

// sessionPresent reports whether the broker has a session for a client ID, and
// ends it.
func (b *broker) sessionPresent(clientID string) bool {
	b.t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(b.url()).SetClientID(clientID).SetCleanSession(false).SetAutoReconnect(false))
	token := c.Connect().(*mqtt.ConnectToken)
	waitToken(b.t, "connecting as "+clientID, token)
	defer c.Disconnect(0)
	return token.SessionPresent()
}

func payloadsOf(entries []entry) (all []string) {
	for _, e := range entries {
		all = append(all, string(e.payload))
	}
	return all
}

// createTelemetry is a command line of the original service, unchanged.
var createTelemetry = []string{
	"trigger", "create", "internet-of-things", "--name", "telemetry", "--description", "All events", "--labels", "env=lab,site=hall-7",
	"--registry-id", "home", "--mqtt-topic", "$devices/+/events", "--batch-size", "1", "--batch-cutoff", "1s",
	"--gateway-id", "main", "--gateway-websocket-broadcast-path", "/telemetry",
}
