package tests

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The example of the migration page, as it stands there: a device with its certificate, a subscriber, and a page,
// with a trigger that the command line has made.
func TestMigration(t *testing.T) {
	t.Parallel()
	const device, registry = "areqjd6un3afc3cefcvm", "arenou2oj4ct42eq8g3n"
	w := openWalkthrough(t, "migration.md")

	w.run(w.block("sh", "openssl req"))
	w.write("root.yaml", w.block("yaml", "management_api"))
	w.write("page/index.html", w.block("html", "iotcast.js"))

	cast := &iotcast{t: t, http: w.http}
	cast.process = w.start(w.block("sh", "iotcast streams"), "iotcast streams")
	cast.waitLog("Launching")
	cast.waitReady()
	made := w.run(w.block("sh", "iotcast registry create"))
	mustName(t, made, "id: "+registry, "name: garden\n", "id: "+device, "greenhouse/: $devices/"+device+"/\n")
	created := w.run(w.block("sh", "iotcast trigger create internet-of-things"))
	for _, want := range []string{"name: telemetry\n", "registry_id: " + registry, "device_id: " + device, "mqtt_topic: $devices/" + device + "/events\n", "status: ACTIVE\n"} {
		if !strings.Contains(created, want) {
			t.Errorf("no %q in:\n%s", want, created)
		}
	}

	w.start(w.block("sh", "http.server"), "python3")
	eventually(t, "the page is there", func() bool {
		res, err := apiClient.Head("http://" + w.page + "/")
		if err == nil {
			res.Body.Close()
		}
		return err == nil
	})
	page := startFeed(t, "page", exec.Command(toolPath("node"), "clients/page.mjs", toolPath("chromium"), "http://"+w.page+"/"))
	shows := func(line string) {
		t.Helper()
		eventuallyWithin(t, 3*patience, fmt.Sprintf("the page shows %q", line), func() bool {
			told := page.told()
			return len(told) > 0 && slices.Contains(strings.Split(told[len(told)-1].Text, "\n"), line)
		})
	}
	// -d tells when it has subscribed, stdbuf that it tells at once.
	subscribe := strings.TrimSpace(w.block("sh", "mosquitto_sub")) + " -d"
	subscriber := w.start("stdbuf -oL "+subscribe, "stdbuf")
	eventually(t, "mosquitto_sub has subscribed", func() bool { return strings.Contains(subscriber.out.String(), "Subscribed") })
	shows("No reading yet")
	shows("open")

	publish := w.block("sh", "mosquitto_pub")
	stranger := strings.NewReplacer("device.pem", "broker.pem", "device-key.pem", "broker-key.pem", "21.5", "99").Replace(publish)
	if printed, err := w.try(stranger); err == nil {
		t.Errorf("published with a certificate that is not the device's: %s", printed)
	}
	w.run(publish)
	shows(device + ": 21.5 °C")

	// The same topic by its other names, as firmware may have them.
	for i, topic := range []string{"$me/device/events", "greenhouse/events"} {
		w.run(strings.NewReplacer("$devices/"+device+"/events", topic, "21.5", fmt.Sprint(30+i)).Replace(publish))
		shows(fmt.Sprintf("%s: %d °C", device, 30+i))
	}

	received := func() (lines []string) {
		for line := range strings.Lines(subscriber.out.String()) {
			if strings.HasPrefix(line, "$devices/") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return lines
	}
	eventually(t, "mosquitto_sub has printed all", func() bool { return len(received()) >= 3 })
	var want []string
	for _, temperature := range []string{"21.5", "30", "31"} {
		want = append(want, "$devices/"+device+`/events {"temperature": `+temperature+"}")
	}
	if got := received(); !slices.Equal(got, want) {
		t.Errorf("mosquitto_sub has printed %q, want %q", got, want)
	}
}
