package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The examples for pages show the newest value of each device: what was there before
// them, and what comes.
func TestExamplesForPages(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	cast := newIotcast(t)
	cast.launchWithHistory("max_messages: 10 }, watch: {}, latest: { by: device", trigger(b, "registry_id: plant", ""), "viewer: /")
	reading := func(device, value string) message {
		return message{topic: "$devices/" + device + "/events", payload: []byte(value)}
	}
	b.publish(1, reading("pump", "3.1 bar"), reading("boiler", "20.0 °C"), reading("boiler", "20.5 °C"))
	eventually(t, "two last values are kept", func() bool { return cast.metric("websocket_latest_messages", "") == 2 })

	dir := filepath.Dir(screenshot)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, stdin, out := converse(t, "examples", exec.Command(toolPath("node"), "clients/examples.mjs", toolPath("chromium"), cast.gateway, dir))
	lines := bufio.NewReader(out)
	expect := func(boiler string) {
		t.Helper()
		seen := map[string]bool{}
		for len(seen) < 4 {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				t.Fatalf("the browser has ended: %v", err)
			}
			var page struct {
				Kind, State, Error string
				Rows               [][]string
			}
			if err := json.Unmarshal(line, &page); err != nil || page.Error != "" {
				t.Fatalf("%s: %v", line, err)
			}
			seen[page.Kind] = true
			if len(page.Rows) != 2 || fmt.Sprint(page.Rows[0][:2], page.Rows[1][:2]) != fmt.Sprint([]string{"boiler", boiler}, []string{"pump", "3.1 bar"}) || page.State != "open" {
				t.Errorf("%s", line)
			}
		}
	}
	expect("20.5 °C")
	b.publish(1, reading("boiler", "21.0 °C"))
	if _, err := io.WriteString(stdin, "21.0 °C\n"); err != nil {
		t.Fatal(err)
	}
	expect("21.0 °C")
}
