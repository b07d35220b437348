package tests

import (
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
	if ids := d.streams(); len(ids) != 0 {
		t.Errorf("streams %v after it was deleted", ids)
	}
	if d.broker.sessionPresent("iotcast-telemetry") {
		t.Error("the broker still has the session of a trigger that was deleted")
	}
	if list := d.do("trigger", "list", "--format", "json"); list != "[]\n" {
		t.Errorf("listed: %s", list)
	}
}

// Both kinds of trigger, the forms in which they are printed, and the way from those back to a trigger.
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
		again := d.doWith(list, "trigger", "create", "--file", "-", "--format", format)
		if timeless(again) != timeless(list) {
			t.Errorf("created:\n%s\nlisted:\n%s", again, list)
		}
		if got := d.do("trigger", "list", "--format", format); got != again {
			t.Errorf("listed again:\n%s\ncreated:\n%s", got, again)
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

	// One of the original's, with a gateway of here; and one of a list that is none for iotcast.
	const foreign = `{"id":"a1s5msktijh2xaty6mqo","folderId":"b1gmit33hgh2eon8zlcq","createdAt":"2022-10-24T15:19:15.353909857Z","name":"from-afar","rule":{"iotBrokerMessage":{"brokerId":"factory","mqttTopic":"hall/8","batchSettings":{"size":"10","cutoff":"1s"},"gatewayWebsocketBroadcast":{"gatewayId":"d4eofc7n0mh2k5r9vtjb","path":"/telemetry","serviceAccountId":"aje3932acdh2o8wq1zns"}}},"status":"ACTIVE"}`
	_, stderr, code := d.command(`{"triggers":[`+foreign+`,{"name":"nightly","rule":{"timer":{}}}]}`, "trigger", "create", "--file", "-", "--gateway-id", "main")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	mustName(t, stderr, "warning", "nightly", "rule.timer")
	mustName(t, d.do("trigger", "get", "from-afar"), "service_account_id: aje3932acdh2o8wq1zns\n", "folder_id: b1gmit33hgh2eon8zlcq\n", "mqtt_topic: hall/8\n", "size: \"10\"\n", "gateway_id: main\n")

	// A file as the whole of what a trigger is to be.
	d.doWith(strings.Replace(foreign, "hall/8", "hall/9", 1), "trigger", "update", "from-afar", "--file", "-",
		"--new-gateway-id", "main", "--new-gateway-websocket-broadcast-service-account-id", "", "--new-name", "from-near")
	got := d.do("trigger", "get", "from-near")
	mustName(t, got, "id: from-afar\n", "mqtt_topic: hall/9\n", "gateway_id: main\n")
	if strings.Contains(got, "service_account_id") {
		t.Errorf("with an account:\n%s", got)
	}
	if operations := d.do("trigger", "list-operations", "from-near"); !strings.Contains(operations, "Create trigger") || !strings.Contains(operations, "Update trigger") {
		t.Errorf("operations:\n%s", operations)
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
	if ids := d.streams(); !slices.Equal(ids, []string{"telemetry"}) {
		t.Errorf("streams %v", ids)
	}
}

// Errors name the flag and say what to do; nothing is left of what was refused.
func TestTriggerErrors(t *testing.T) {
	t.Parallel()
	d := newDesk(t, startMosquitto(t))
	d.do(createTelemetry...)
	before := d.do("trigger", "list", "--format", "json")
	create := func(kind string, more ...string) []string {
		return append([]string{
			"trigger", "create", kind, "--name", "other", "--gateway-id", "main", "--gateway-websocket-broadcast-path", "/telemetry",
		}, more...)
	}
	for _, test := range []struct {
		want []string
		args []string
	}{
		{[]string{"--name"}, []string{"trigger", "create", "iot-broker"}},
		{[]string{"--broker-id", "--gateway-id", "--gateway-websocket-broadcast-path"}, []string{"trigger", "create", "iot-broker", "other"}},
		{
			[]string{"--name", `"A"`, "--batch-size", "1000", "--description", "500", `--labels["A"]`, "--registry-id"},
			create("iot-devices", "--name", "A", "--batch-size", "1001", "--description", strings.Repeat("x", 501), "--labels", "A=b"),
		},
		{
			[]string{"--device-id", `"a/b"`, "--mqtt-topic", "monitoring", "--batch-cutoff", "60s"},
			create("iot-devices", "--registry-id", "r", "--device-id", "a/b",
				"--mqtt-topic", "$monitoring/d/json", "--batch-cutoff", "61s"),
		},
		{[]string{"--batch-size 0"}, create("iot-broker", "--broker-id", "b", "--batch-size", "0")},
		{[]string{"--batch-size", "many", "whole number"}, create("iot-broker", "--broker-id", "b", "--batch-size", "many")},
		{[]string{"--batch-cutoff", `"60"`, "10s"}, create("iot-broker", "--broker-id", "b", "--batch-cutoff", "60")},
		{[]string{"--new-batch-cutoff", `"60"`, "10s"}, []string{"trigger", "update", "telemetry", "--new-batch-cutoff", "60"}},
		{[]string{"--labels", "KEY=VALUE"}, create("iot-broker", "--broker-id", "b", "--labels", "x")},
		{[]string{"--format", "xml"}, create("iot-broker", "--broker-id", "b", "--format", "xml")},
		{[]string{"gateway", `"side"`, `"main"`}, create("iot-broker", "--broker-id", "b", "--gateway-id", "side")},
		{[]string{"path", `"/nowhere"`, `"/alarms"`}, create("iot-broker", "--broker-id", "b", "--gateway-websocket-broadcast-path", "/nowhere")},
		{[]string{`"telemetry"`, "taken"}, create("iot-broker", "--broker-id", "b", "--name", "telemetry")},
		{[]string{"unexpected argument", "more"}, create("iot-broker", "--broker-id", "b", "more")},
		{[]string{"timer", "internet-of-things", "iot-broker"}, []string{"trigger", "create", "timer", "--name", "x"}},
		{[]string{"--file"}, []string{"trigger", "create"}},
		{[]string{`"x"`, "iotcast trigger list"}, []string{"trigger", "get", "x"}},
		{[]string{"--colour", "--help"}, []string{"trigger", "get", "telemetry", "--colour", "red"}},
		{[]string{`"/nowhere"`, `"/telemetry"`}, []string{"trigger", "update", "telemetry", "--new-gateway-websocket-broadcast-path", "/nowhere"}},
		{[]string{"--new-batch-size 0"}, []string{"trigger", "update", "telemetry", "--new-batch-size", "0"}},
		{[]string{"topics of registry home"}, []string{"trigger", "update", "iot-broker", "telemetry", "--new-broker-id", "b"}},
		{[]string{"--new-broker-id", "registry home"}, []string{"trigger", "update", "telemetry", "--new-broker-id", "b"}},
		{[]string{"nothing to change"}, []string{"trigger", "update", "telemetry"}},
		{[]string{"--new-mqtt-topic", "monitoring"}, []string{"trigger", "update", "telemetry", "--new-mqtt-topic", "$monitoring/d/json"}},
		{[]string{`no stream "x"`, "telemetry"}, []string{"stream", "update", "x", d.root}},
	} {
		d.mustFail(test.want, test.args...)
		if ids := d.streams(); !slices.Equal(ids, []string{"telemetry"}) {
			t.Errorf("iotcast %s: streams %v", strings.Join(test.args, " "), ids)
		}
	}
	if after := d.do("trigger", "list", "--format", "json"); after != before {
		t.Errorf("after errors:\n%s", after)
	}
	if n := d.connects(); n != 1 {
		t.Errorf("iotcast has connected to its broker %d times", n)
	}
}

// A broker that asks for a password, which only the process knows.
func TestTriggerPassword(t *testing.T) {
	t.Parallel()
	passwords := filepath.Join(t.TempDir(), "passwords")
	if out, code := runProgram(t, toolPath("mosquitto_passwd"), "-b", "-c", passwords, "me", `p"a$s#: w`); code != 0 {
		t.Fatal(out)
	}
	b := startMosquittoIn(t, t.TempDir(), "allow_anonymous false", "password_file "+passwords)
	d := newDesk(t, b, "IOTCAST_MQTT_USER=me", `IOTCAST_MQTT_PASSWORD=p"a$s#: w`)
	d.do(createTelemetry...)
	d.waitReady() // which the trigger is part of
	if printed := d.do("trigger", "get", "telemetry", "--format", "json"); strings.Contains(printed, "#: w") || strings.Contains(d.out.String(), "#: w") {
		t.Errorf("a password is told: %s", printed)
	}
}
