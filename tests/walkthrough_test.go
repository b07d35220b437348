package tests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// walkthrough is the example of a page of docs, in a directory and at addresses of its own.
type walkthrough struct {
	t      *testing.T
	docs   string // the page, within the repository
	dir    string
	env    []string
	blocks []string // what is fenced, in order, with its language in the first line

	http, api, mqtt, gateway, page string // host:port of what listens
}

// openWalkthrough reads a page of docs.
func openWalkthrough(t *testing.T, page string) *walkthrough {
	t.Helper()
	text, err := os.ReadFile("../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	w := &walkthrough{
		t: t, docs: "docs/" + page, dir: t.TempDir(),
		http: freeAddress(t), api: freeAddress(t), mqtt: freeAddress(t), gateway: freeAddress(t), page: freeAddress(t),
	}
	secure := freeAddress(t)
	management := "http: { address: %q }\nmanagement_api:\n  address: %q #"
	if strings.Contains(string(text), "address: 127.0.0.1:4195") { // no defaults
		management = "management_api: # %.0s%.0s"
	}
	elsewhere := strings.NewReplacer(
		"127.0.0.1:4195", w.http, "127.0.0.1:4196", w.api, "127.0.0.1:1883", w.mqtt, "127.0.0.1:8883", secure, "127.0.0.1:8080", w.gateway,
		"127.0.0.1:8000", w.page, "-p 8883", "-p "+portOf(secure), "--directory page 8000", "--directory page "+portOf(w.page),
		// What stands there because it is the default.
		"mqtt_broker: {}", fmt.Sprintf("mqtt_broker: { address: %q }", w.mqtt), "mosquitto_pub -u", "mosquitto_pub -p "+portOf(w.mqtt)+" -u",
		"management_api: #", fmt.Sprintf(management, w.http, w.api),
	)
	w.blocks = fenced(elsewhere.Replace(string(text)))
	w.env = append(withIotcast(t), "API=http://"+w.api, "IOTCAST_ENDPOINT="+w.api, "IOTCAST_MQTT_URL=tcp://"+w.mqtt)
	return w
}

// fenced is what a page has fenced, in order, with its language in the first line.
func fenced(text string) (blocks []string) {
	for _, m := range regexp.MustCompile("(?s)\n```(\\w+\n.*?\n)```\n").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// withIotcast is the environment of somebody who has installed iotcast.
func withIotcast(t *testing.T) (env []string) {
	t.Helper()
	program, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(program, filepath.Join(bin, "iotcast")); err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH")+":/usr/sbin") // where Debian keeps daemons
}

func portOf(address string) string { return address[strings.LastIndex(address, ":")+1:] }

// cast runs the block with iotcast streams, on root.yaml.
func (w *walkthrough) cast() *iotcast {
	w.t.Helper()
	c := &iotcast{t: w.t, http: w.http, gateway: w.gateway}
	c.process = w.start(w.block("sh", "iotcast streams"), "iotcast streams")
	c.waitReady()
	return c
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
		w.t.Fatalf("%s has %d blocks in %s with %q, want one", w.docs, len(found), language, text)
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
