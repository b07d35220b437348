package tests

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
)

// The walk through docs/tap.md, as it stands there.
func TestTapPage(t *testing.T) {
	t.Parallel()
	w := openWalkthrough(t, "tap.md")
	w.write("root.yaml", w.block("yaml", "state_dir: state"))
	cast := w.cast()
	w.run(w.block("sh", "iotcast registry create"))
	for range 2 {
		connectGo(t, cast.url("/telemetry"))
	}
	text := w.start(w.block("sh", "tap --device"), "iotcast tap")
	lines := w.start(w.block("sh", "--output json"), "iotcast tap")
	for _, p := range []*process{text, lines} {
		eventually(t, "it follows", func() bool { return strings.Contains(p.out.String(), "Following.") })
	}
	w.run(w.block("sh", "mqtt publish"))
	eventually(t, "the way is shown", func() bool { return strings.Contains(text.out.String(), "written to") })
	rest := text.out.String()
	for _, want := range []string{
		"boiler $devices/boiler/events {\"temperature\": 61}\n", "received with QoS 1 by telemetry\n", "batched alone\n", "encoded, ",
		"broadcast to main /telemetry, 2 connections\n", "written to 2 of 2 connections of main /telemetry, at +",
	} {
		if !strings.Contains(rest, want) {
			t.Errorf("%q is missing in\n%s", want, rest)
		}
	}
	if strings.Contains(rest, "\x1b") {
		t.Errorf("colours, and no terminal: %q", rest)
	}
	if code := lines.exitCode(patience); code != 0 {
		t.Errorf("exit code %d after a way", code)
	}
	mustName(t, w.run(w.block("sh", "tap/losses")), `{"ways":[]}`)
	text.signal(syscall.SIGINT)
	if code := text.exitCode(patience); code != 0 {
		t.Errorf("exit code %d after Ctrl-C", code)
	}
}

// tapLine is one that iotcast tap prints as JSON.
type tapLine struct {
	Message, Way *struct {
		EventID string `json:"event_id"`
		Done    bool
		Details struct {
			DeviceID string `json:"device_id"`
			Payload  []byte
		}
		Message struct {
			Details struct {
				DeviceID string `json:"device_id"`
			}
		}
		Steps []struct{ Step, Gateway, Path string }
	}
	Skipped int
}

// Messages are picked by what they are and by where they go, and whatever they hold, a terminal does not obey it.
func TestTapCommand(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	d.do("registry", "create", "home", "--password", "Correct-Horse-1")
	for _, device := range []string{"boiler", "kettle"} {
		d.do("device", "create", device, "--registry-name", "home", "--password", "Correct-Horse-2")
	}
	d.do("trigger", "create", "internet-of-things", "--name", "telemetry", "--registry-id", "home",
		"--gateway-id", "main", "--gateway-websocket-broadcast-path", "/telemetry")
	all := d.spawn("tap", "--output", "json", "-n", "3")
	boiler := d.spawn("tap", "--device", "boiler")
	nowhere := d.spawn("tap", "--route", "main/elsewhere")
	other := d.spawn("tap", "--trigger", "other", "--text", "EVIL")
	evil := d.spawn("tap", "--text", "EVIL", "--route", "main")
	for _, p := range []*process{all, boiler, nowhere, other, evil} {
		eventually(t, "it follows", func() bool { return strings.Contains(p.out.String(), "Following.") })
	}
	for _, device := range []string{"boiler", "kettle"} {
		d.do("mqtt", "publish", "-u", device, "-P", "Correct-Horse-2", "-q", "1", "-t", "$devices/"+device+"/events", "-m", "from "+device)
	}
	d.doWith("\xff\x00\x1b[31mred", "mqtt", "publish", "-u", "boiler", "-P", "Correct-Horse-2", "-q", "1", "-t", "$devices/boiler/events/\u009b31mevil", "-f", "-")
	if code := all.exitCode(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	devices := map[string]int{}
	for line := range strings.Lines(all.out.String()) {
		if line == "Following.\n" {
			continue
		}
		var one tapLine
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		switch {
		case one.Message != nil:
			devices["message of "+one.Message.Details.DeviceID]++
		case one.Way != nil:
			devices["way of "+one.Way.Message.Details.DeviceID]++
			if !one.Way.Done || len(one.Way.Steps) < 3 {
				t.Errorf("a way has no end: %s", line)
			}
		}
	}
	if devices["message of boiler"] != 2 || devices["way of boiler"] != 2 || devices["way of kettle"] != 1 {
		t.Errorf("printed %v", devices)
	}
	for _, p := range []*process{boiler, evil} {
		eventually(t, "the last is shown", func() bool { return strings.Contains(p.out.String(), "0xff001b5b33316d726564") })
	}
	if text := boiler.out.String(); strings.Contains(text, "kettle") || strings.ContainsAny(text, "\x1b\u009b") || !strings.Contains(text, "from boiler") {
		t.Errorf("%q", text)
	}
	for _, p := range []*process{nowhere, other} {
		if text := p.out.String(); text != "Following.\n" {
			t.Errorf("%q", text)
		}
	}

	d.process.signal(syscall.SIGTERM) // it goes, and says so
	if code := boiler.exitCode(patience); code != 1 || !strings.Contains(boiler.out.String(), "start this again when it is back") {
		t.Errorf("exit code %d: %s", code, boiler.out.String())
	}
	for _, refused := range []struct {
		args []string
		want string
	}{
		{[]string{"tap"}, "no management API listens"},
		{[]string{"tap", "--output", "yaml"}, "--output"},
		{[]string{"tap", "-n", "0"}, "--count"},
		{[]string{"tap", "boiler"}, "boiler"},
	} {
		if stdout, stderr, code := d.command("", refused.args...); code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, refused.want) {
			t.Errorf("%q: exit code %d, %q %q", refused.args, code, stdout, stderr)
		}
	}
}
