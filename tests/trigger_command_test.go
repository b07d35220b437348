package tests

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A trigger from its creation to its end, as somebody at a keyboard sees it.
func TestTriggerCommands(t *testing.T) {
	t.Parallel()
	d := newDesk(t, startMosquitto(t))
	c := connectGo(t, d.url("/telemetry"))

	created := d.do(createTelemetry...)
	_, after, _ := strings.Cut(created, "\n") // the time of creation is the second line
	_, after, _ = strings.Cut(after, "\n")
	if want := `name: telemetry
description: All events
labels:
  env: lab
  site: hall-7
rule:
  iot_message:
    registry_id: home
    mqtt_topic: $devices/+/events
    batch_settings:
      size: "1"
      cutoff: 1s
    gateway_websocket_broadcast:
      gateway_id: main
      path: /telemetry
status: ACTIVE
`; after != want || !strings.HasPrefix(created, "id: telemetry\ncreated_at: \"") {
		t.Errorf("created:\n%s", created)
	}
	if got := d.do("trigger", "get", "telemetry"); got != created {
		t.Errorf("got:\n%s\ncreated:\n%s", got, created)
	}

	d.mosquittoPub("$devices/boiler/events", "first", 1)
	got, _ := c.waitEntries(1)
	if e := got[0]; string(e.payload) != "first" || e.registry != "home" || e.device != "boiler" || e.topic != "$devices/boiler/events" {
		t.Errorf("received %+v", e)
	}

	// Paused, it sends nothing; what was sent with QoS 1 comes when it is resumed.
	if paused := d.do("trigger", "pause", "telemetry"); paused != strings.Replace(created, "ACTIVE", "PAUSED", 1) {
		t.Errorf("paused:\n%s", paused)
	}
	if ids := d.streams(); len(ids) != 0 {
		t.Errorf("streams %v after the only trigger was paused", ids)
	}
	d.mosquittoPub("$devices/boiler/events", "lost", 0)
	d.mosquittoPub("$devices/boiler/events", "kept while paused", 1)

	// It is still paused after a restart.
	d.terminate()
	d.start()
	if list := d.do("trigger", "list"); !strings.Contains(list, "PAUSED") || len(d.streams()) != 0 {
		t.Errorf("after a restart:\n%s", list)
	}
	c = connectGo(t, d.url("/telemetry"))
	if resumed := d.do("trigger", "resume", "telemetry"); resumed != created {
		t.Errorf("resumed:\n%s", resumed)
	}
	d.mosquittoPub("$devices/boiler/events", "resumed", 1)
	got, _ = c.waitEntries(2)
	if p := payloadsOf(got); !slices.Equal(p, []string{"kept while paused", "resumed"}) {
		t.Errorf("after the pause %q", p)
	}

	// An active one runs after a restart, and loses nothing meanwhile.
	d.terminate()
	d.mosquittoPub("$devices/boiler/events", "kept while down", 1)
	d.mosquittoPub("$devices/boiler/events", "and this", 1)
	d.start() // ready means connected: what was kept may have found nobody
	if got := d.do("trigger", "get", "telemetry"); got != created {
		t.Errorf("after another restart:\n%s", got)
	}
	c = connectGo(t, d.url("/telemetry"))
	d.mosquittoPub("$devices/boiler/events", "running", 1)
	got, _ = c.waitEntries(1)
	if p := payloadsOf(got); p[len(p)-1] != "running" {
		t.Errorf("after a restart %q", p)
	}

	_, stderr, code := d.command("", "trigger", "delete", "telemetry")
	if code != 0 || stderr != "Deleted trigger telemetry.\n" {
		t.Errorf("delete: exit code %d, %s", code, stderr)
	}
	if files, ids := d.files(), d.streams(); len(files) != 0 || len(ids) != 0 {
		t.Errorf("after it was deleted: files %v, streams %v", files, ids)
	}
	if d.broker.sessionPresent("iotcast-telemetry") {
		t.Error("the broker still has the session of a trigger that was deleted")
	}
	if list := d.do("trigger", "list", "--format", "json"); list != "[]\n" {
		t.Errorf("listed: %s", list)
	}
}

// Both kinds of trigger, the forms in which they are printed, and the way from
// those back to a trigger.
func TestTriggerFiles(t *testing.T) {
	t.Parallel()
	d := newDesk(t, startMosquitto(t))
	d.do(createTelemetry...)
	d.do("trigger", "create", "iot-broker", "--name", "alarms", "--broker-id", "factory", "--batch-cutoff", "0s",
		"--gateway-id", "main", "--gateway-websocket-broadcast-path", "/alarms")
	d.do("trigger", "pause", "alarms")

	for _, format := range []string{"yaml", "json", "json-rest"} {
		list := d.do("trigger", "list", "--format", format)
		d.do("trigger", "delete", "alarms", "telemetry")
		if again := d.doWith(list, "trigger", "create", "--file", "-", "--format", format); again != list {
			t.Errorf("created:\n%s\nlisted:\n%s", again, list)
		}
		if again := d.do("trigger", "list", "--format", format); again != list {
			t.Errorf("listed again:\n%s\nlisted:\n%s", again, list)
		}
		if ids := d.streams(); !slices.Equal(ids, []string{"telemetry"}) {
			t.Errorf("streams %v, and the other is paused", ids)
		}
	}
	d.do("trigger", "resume", "alarms")
	c := connectGo(t, d.url("/alarms"))
	d.mosquittoPub("hall/7", "fire", 1)
	if got, _ := c.waitEntries(1); got[0].broker != "factory" || string(got[0].payload) != "fire" {
		t.Errorf("received %+v", got[0])
	}

	// One of the original's, with its own ID, and a gateway of here.
	file := filepath.Join(t.TempDir(), "trigger.json")
	if err := os.WriteFile(file, []byte(`{"id":"a1s5msktijh2xaty6mqo","folderId":"b1gmit33hgh2eon8zlcq","createdAt":"2022-10-24T15:19:15.353909857Z","name":"from-afar","rule":{"iotBrokerMessage":{"brokerId":"factory","mqttTopic":"hall/8","batchSettings":{"size":"10","cutoff":"1s"},"gatewayWebsocketBroadcast":{"gatewayId":"d4eofc7n0mh2k5r9vtjb","path":"/telemetry","serviceAccountId":"aje3932acdh2o8wq1zns"}}},"status":"ACTIVE"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	d.do("trigger", "create", "--file", file, "--gateway-id", "main")
	got := d.do("trigger", "get", "from-afar")
	for _, want := range []string{"service_account_id: aje3932acdh2o8wq1zns\n", "id: a1s5msktijh2xaty6mqo\n", "folder_id: b1gmit33hgh2eon8zlcq\n", "created_at: \"2022-10-24T15:19:15.353909857Z\"\n", "gateway_id: main\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}

	// What a dry run prints is a stream that Benthos likes, and changes nothing.
	before := d.files()
	for _, args := range [][]string{
		append(slices.Clone(createTelemetry), "--name", "other", "--dry-run"),
		{"trigger", "create", "--file", file, "--gateway-id", "main", "--gateway-websocket-broadcast-service-account-id", "", "--dry-run"},
		{"trigger", "update", "telemetry", "--new-batch-size", "7", "--dry-run"},
	} {
		stream := d.do(args...)
		if printed, code := runProgram(t, binary, "lint", writeFile(t, stream)); code != 0 {
			t.Errorf("lint: exit code %d\n%s\n%s", code, printed, stream)
		}
	}
	if after := d.files(); !slices.Equal(before, after) {
		t.Errorf("files %v after a dry run, before %v", after, before)
	}
}

// Where the gateway has access bindings, a trigger sends as its service account.
func TestTriggerServiceAccount(t *testing.T) {
	t.Parallel()
	d := newDeskWith(t, startMosquitto(t), "access_bindings: [ { service_account_id: sender, roles: [ api-gateway.websocketBroadcaster ] } ]")
	as := func(account string) []string {
		return append(slices.Clone(createTelemetry), "--gateway-websocket-broadcast-service-account-id", account)
	}
	d.mustFail([]string{"service_account_id", "stranger", "api-gateway.websocketBroadcaster"}, as("stranger")...)
	d.mustFail([]string{"service_account_id", "api-gateway.websocketBroadcaster"}, createTelemetry...)
	d.do(as("sender")...)
	d.mustFail([]string{"stranger"}, "trigger", "update", "telemetry", "--new-gateway-websocket-broadcast-service-account-id", "stranger")
	if files, ids := d.files(), d.streams(); !slices.Equal(files, []string{"telemetry.yaml"}) || !slices.Equal(ids, []string{"telemetry"}) {
		t.Errorf("files %v, streams %v", files, ids)
	}
}

// Errors name the flag and say what to do; nothing is left of what was refused.
func TestTriggerErrors(t *testing.T) {
	t.Parallel()
	d := newDesk(t, startMosquitto(t))
	d.do(createTelemetry...)
	before := d.files()
	create := func(kind string, more ...string) []string {
		return append([]string{
			"trigger", "create", kind, "--name", "other", "--gateway-id", "main", "--gateway-websocket-broadcast-path", "/telemetry",
		}, more...)
	}
	for _, test := range []struct {
		want []string
		args []string
	}{
		{[]string{"--name", "--broker-id", "--gateway-id", "--gateway-websocket-broadcast-path"}, []string{"trigger", "create", "iot-broker"}},
		{
			[]string{`--name "A"`, "--device-id", "--mqtt-topic", "--batch-size 1001", "--batch-cutoff 61s", "--description", "--labels", "--registry-id"},
			create("iot-devices", "--name", "A", "--device-id", "a/b", "--mqtt-topic", "$monitoring/d/json", "--batch-size", "1001", "--batch-cutoff", "61s",
				"--description", strings.Repeat("x", 257), "--labels", "A=b"),
		},
		{[]string{"--batch-size", "many", "whole number"}, create("iot-broker", "--broker-id", "b", "--batch-size", "many")},
		{[]string{"--batch-cutoff", `"60"`, "10s"}, create("iot-broker", "--broker-id", "b", "--batch-cutoff", "60")},
		{[]string{"--new-batch-cutoff", `"60"`, "10s"}, []string{"trigger", "update", "telemetry", "--new-batch-cutoff", "60"}},
		{[]string{"--labels", "KEY=VALUE"}, create("iot-broker", "--broker-id", "b", "--labels", "x")},
		{[]string{"--qos 3"}, create("iot-broker", "--broker-id", "b", "--qos", "3")},
		{[]string{"--mqtt-url", "localhost"}, create("iot-broker", "--broker-id", "b", "--mqtt-url", "localhost")},
		{[]string{"--mqtt-url", "schemes", "wss"}, create("iot-broker", "--broker-id", "b", "--mqtt-url", "foo://x")},
		{[]string{"--mqtt-url", "without a host"}, create("iot-broker", "--broker-id", "b", "--mqtt-url", "tcp://")},
		{[]string{"--mqtt-url", "port"}, []string{"trigger", "update", "telemetry", "--mqtt-url", "tcp://localhost:mqtt"}},
		{[]string{"--template", "no-such-file"}, create("iot-broker", "--broker-id", "b", "--template", "no-such-file")},
		{[]string{"--format", "xml"}, create("iot-broker", "--broker-id", "b", "--format", "xml")},
		{[]string{"gateway", `"side"`, `"main"`}, create("iot-broker", "--broker-id", "b", "--gateway-id", "side")},
		{[]string{"path", `"/nowhere"`, `"/alarms"`}, create("iot-broker", "--broker-id", "b", "--gateway-websocket-broadcast-path", "/nowhere")},
		{[]string{`name "telemetry" is taken`}, create("iot-broker", "--broker-id", "b", "--name", "telemetry")},
		{[]string{"unexpected argument", "more"}, create("iot-broker", "--broker-id", "b", "more")},
		{[]string{"--streams-dir", "no-such-dir"}, create("iot-broker", "--broker-id", "b", "--streams-dir", "no-such-dir")},
		{[]string{"--api", "nowhere"}, create("iot-broker", "--broker-id", "b", "--api", "nowhere")},
		{[]string{"iotcast streams", freeAddress(t)[:10]}, create("iot-broker", "--broker-id", "b", "--api", "http://"+freeAddress(t))},
		{[]string{"timer", "internet-of-things", "iot-broker"}, []string{"trigger", "create", "timer", "--name", "x"}},
		{[]string{"--file"}, []string{"trigger", "create"}},
		{[]string{`"x"`, "no such trigger", `"telemetry"`}, []string{"trigger", "get", "x"}},
		{[]string{"--colour", "--help"}, []string{"trigger", "get", "telemetry", "--colour", "red"}},
		{[]string{`"/nowhere"`, `"/telemetry"`}, []string{"trigger", "update", "telemetry", "--new-gateway-websocket-broadcast-path", "/nowhere"}},
		{[]string{"--new-batch-size 0"}, []string{"trigger", "update", "telemetry", "--new-batch-size", "0"}},
		{[]string{"topics of a device"}, []string{"trigger", "update", "iot-broker", "telemetry", "--new-broker-id", "b"}},
		{[]string{`no stream "x"`, "telemetry"}, []string{"stream", "update", "x", d.root}},
	} {
		d.mustFail(test.want, test.args...)
		if after := d.files(); !slices.Equal(after, before) || !slices.Equal(d.streams(), []string{"telemetry"}) {
			t.Errorf("iotcast %s: files %v, streams %v", strings.Join(test.args, " "), after, d.streams())
		}
	}
	if n := d.connects(); n != 1 {
		t.Errorf("iotcast has connected to its broker %d times", n)
	}
}

// A broker that asks for a password, which stands in no file and on no command
// line; and one that does not let the trigger in.
func TestTriggerPassword(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "passwords")
	if out, code := runProgram(t, toolPath("mosquitto_passwd"), "-b", "-c", passwords, "me", `p"a$s#: w`); code != 0 {
		t.Fatal(out)
	}
	b := startMosquittoIn(t, t.TempDir(), "allow_anonymous false", "password_file "+passwords)
	good := newDesk(t, b, "IOTCAST_MQTT_USER=me", `IOTCAST_MQTT_PASSWORD=p"a$s#: w`)
	good.do(createTelemetry...)
	text, err := os.ReadFile(filepath.Join(good.dir, "telemetry.yaml"))
	if err != nil || strings.Contains(string(text), "#: w") {
		t.Errorf("the file holds the password: %s %v", text, err)
	}

	bad := newDesk(t, b, "IOTCAST_MQTT_USER=me")
	_, stderr, code := bad.command("", append(slices.Clone(createTelemetry), "--client-id", "other")...)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	mustName(t, stderr, "warning", "telemetry", "not connected", "check user, password and tls")
}
