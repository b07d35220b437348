package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// A subscriber that prints, and publishers of text, lines, files and bytes, as a registry and its device.
func TestMQTTCommands(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	d.do("registry", "create", "home", "--password", "Correct-Horse-1")
	d.do("device", "create", "boiler", "--registry-name", "home", "--password", "Correct-Horse-2")
	d.env = append(d.env, "IOTCAST_MQTT_USER=home", "IOTCAST_MQTT_PASSWORD=Correct-Horse-1")
	details := d.spawn("mqtt", "subscribe", "-t", "$devices/boiler/events", "-t", "$devices/boiler/state", "-q", "1", "--details", "-n", "6")
	plain := d.spawn("mqtt", "subscribe", "-t", "$devices/#")
	for _, p := range []*process{details, plain} {
		eventually(t, "subscribed", func() bool { return strings.Contains(p.out.String(), "Subscribed.") })
	}

	d.env = append(d.env, "IOTCAST_MQTT_USER=boiler", "IOTCAST_MQTT_PASSWORD=Correct-Horse-2")
	file := filepath.Join(t.TempDir(), "reading")
	if err := os.WriteFile(file, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	events := []string{"mqtt", "publish", "-q", "1", "-t", "$devices/boiler/events"}
	d.do(append(events, "-m", "21.5 °C")...)
	d.do(append(events, "--file", file)...)
	d.doWith("one\n\nthree", append(events, "-l")...)
	d.doWith("\xff\x00", "mqtt", "publish", "--topic", "$devices/boiler/state", "-f", "-")

	if code := details.exitCode(patience); code != 0 {
		t.Errorf("exit code %d after six messages", code)
	}
	var payloads []string
	for line := range strings.Lines(details.out.String()) {
		if line == "Subscribed.\n" {
			continue
		}
		var m struct {
			Topic, Time, Payload string
			QoS                  int
			Retained             *bool
			Base64               string `json:"payload_base64"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.Time == "" || m.Retained == nil {
			t.Errorf("%v: %s", err, line)
		}
		payloads = append(payloads, m.Topic[len("$devices/boiler/"):]+" "+m.Payload+m.Base64)
	}
	want := []string{"events 21.5 °C", "events from a file", "events one", "events ", "events three", "state /wA="}
	if !slices.Equal(payloads, want) {
		t.Errorf("printed %q, want %q", payloads, want)
	}
	eventually(t, "all lines are printed", func() bool { return strings.HasSuffix(plain.out.String(), "21.5 °C\nfrom a file\none\n\nthree\n") })
	plain.signal(syscall.SIGTERM)
	if code := plain.exitCode(patience); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}

	foreign := slices.Replace(slices.Clone(events), 5, 6, "$devices/other/events")
	d.mustFail([]string{"$devices/other/events", "may this user"}, append(foreign, "-m", "x")...)
	d.mustFail([]string{"refused", "$devices/other/events"}, "mqtt", "subscribe", "-t", "$devices/other/events")
	d.mustFail([]string{"--url", "tcp://localhost:1883"}, append(events, "-m", "x", "--url", "localhost")...)
	d.mustFail([]string{"--qos 3"}, append(events, "-m", "x", "-q", "3")...)
	d.mustFail([]string{"--message", "--file", "--line"}, events...)
	d.mustFail([]string{"--topic"}, "mqtt", "subscribe")
	d.mustFail([]string{"--cert", "--key"}, append(events, "-m", "x", "--cert", file)...)
	nobody := "tcp://me:secret@" + freeAddress(t)
	d.mustFail([]string{nobody[len("tcp://me:secret@"):], "refused"}, append(events, "-m", "x", "--url", nobody)...)
	if _, stderr, _ := d.command("", append(events, "-m", "x", "--url", nobody)...); strings.Contains(stderr, "secret") {
		t.Errorf("an error holds a password: %s", stderr)
	}
}

// Over TLS, with certificates on both sides.
func TestMQTTCommandsTLS(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	dir := t.TempDir()
	name := func(file string) string { return filepath.Join(dir, file) }
	authority.issue("broker", name("broker.pem"), name("broker-key.pem"))
	authority.issue("device", name("device.pem"), name("device-key.pem"))
	d := &desk{iotcast: newIotcast(t), api: freeAddress(t)}
	mqtt := freeAddress(t)
	d.root = writeFile(t, root(d.gateway, d.http)+`
management_api: { address: "`+d.api+`" }
mqtt_broker: { tls: { address: "`+mqtt+`", cert_file: "`+name("broker.pem")+`", key_file: "`+name("broker-key.pem")+`" } }
`)
	d.env = []string{"IOTCAST_ENDPOINT=" + d.api, "IOTCAST_MQTT_URL=ssl://" + mqtt}
	d.start()
	d.do("registry", "create", "home")
	d.do("device", "create", "boiler", "--registry-name", "home", "--certificate-file", name("device.pem"))
	publish := []string{"mqtt", "publish", "-q", "1", "-t", "$devices/boiler/events", "-m", "x", "--cert", name("device.pem"), "--key", name("device-key.pem")}
	d.do(append(publish, "--ca", authority.file())...)
	d.mustFail([]string{"certificate"}, publish...)
	d.mustFail([]string{"--ca", "no-such-file"}, append(publish, "--ca", "no-such-file")...)
}
