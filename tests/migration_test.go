package tests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// walkthrough is the example of docs/migration.md, in a directory and at addresses of its own.
type walkthrough struct {
	t      *testing.T
	dir    string
	env    []string
	blocks []string // what is fenced, in order, with its language in the first line
	http   string   // of Benthos' API
	page   string   // host:port
}

func openWalkthrough(t *testing.T) *walkthrough {
	t.Helper()
	text, err := os.ReadFile("../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	w := &walkthrough{t: t, dir: t.TempDir(), http: freeAddress(t), page: freeAddress(t)}
	api, mqtt, secure, gateway := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	port := func(address string) string { return address[strings.LastIndex(address, ":")+1:] }
	elsewhere := strings.NewReplacer(
		"127.0.0.1:4195", w.http, "127.0.0.1:4196", api, "127.0.0.1:1883", mqtt, "127.0.0.1:8883", secure, "127.0.0.1:8080", gateway, "127.0.0.1:8000", w.page,
		"-p 8883", "-p "+port(secure), "--directory page 8000", "--directory page "+port(w.page),
	)
	for _, m := range regexp.MustCompile("(?s)\n```(\\w+\n.*?\n)```\n").FindAllStringSubmatch(string(text), -1) {
		w.blocks = append(w.blocks, elsewhere.Replace(m[1]))
	}
	program, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(program, filepath.Join(bin, "iotcast")); err != nil {
		t.Fatal(err)
	}
	w.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "IOTCAST_ENDPOINT="+api)
	return w
}

// block is the only one in this language that contains text.
func (w *walkthrough) block(language, text string) string {
	w.t.Helper()
	var found []string
	for _, b := range w.blocks {
		if body, ok := strings.CutPrefix(b, language+"\n"); ok && strings.Contains(body, text) {
			found = append(found, body)
		}
	}
	if len(found) != 1 {
		w.t.Fatalf("docs/migration.md has %d blocks in %s with %q, want one", len(found), language, text)
	}
	return found[0]
}

func (w *walkthrough) shell(ctx context.Context, script string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euc", script)
	cmd.Dir, cmd.Env = w.dir, w.env
	return cmd
}

func (w *walkthrough) try(script string) (printed string, err error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*patience)
	defer cancel()
	out, err := w.shell(ctx, script).CombinedOutput()
	return string(out), err
}

func (w *walkthrough) run(script string) (printed string) {
	w.t.Helper()
	printed, err := w.try(script)
	if err != nil {
		w.t.Fatalf("%s%v\n%s", script, err, printed)
	}
	return printed
}

// start starts what runs until it is ended. The command must be the last one of the script.
func (w *walkthrough) start(script, command string) *process {
	w.t.Helper()
	i := strings.LastIndex(script, command)
	if i < 0 {
		w.t.Fatalf("no %q in:\n%s", command, script)
	}
	return start(w.t, command, w.shell(context.Background(), script[:i]+"exec "+script[i:])) // exec: to end it, and not the shell
}

func (w *walkthrough) write(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// The example of the migration page, as it stands there: a device with its certificate, a subscriber, and a page,
// with a trigger that the command line has made.
func TestMigration(t *testing.T) {
	t.Parallel()
	const device, registry = "areqjd6un3afc3cefcvm", "arenou2oj4ct42eq8g3n"
	w := openWalkthrough(t)

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
