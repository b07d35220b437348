package tests

import (
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// has fails for each text that is not there.
func has(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, one := range want {
		if !strings.Contains(text, one) {
			t.Errorf("no %q in:\n%s", one, text)
		}
	}
}

// see waits until a text is there.
func (c *consoleBrowser) see(text string) {
	c.t.Helper()
	c.do("see", args{"text": text})
}

// buttons are what can be done in the view.
func (c *consoleBrowser) buttons() (all []string) {
	c.t.Helper()
	c.do("buttons", nil, &all)
	return all
}

// focused waits until the focus is at what begins with a text.
func (c *consoleBrowser) focused(text string) {
	c.t.Helper()
	eventually(c.t, "the focus is at "+text, func() bool {
		var at string
		c.do("focus", nil, &at)
		return strings.HasPrefix(at, text)
	})
}

func TestConsoleDevices(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	m.launch("streams", "-o", writeFile(t, m.root("console: true")+`
iot_registries:
  - id: factory
    devices:
      - { id: lamp, aliases: { 'lamp/': $devices/lamp/ } }
`))
	m.waitReady()
	c := openConsole(t, "consoleviews.mjs", m)
	c.do("open", args{"address": "#/devices"})
	c.see("factory")
	c.looks("devices-none")

	// A registry: what is wrong stands at its field.
	var told []string
	c.do("form", args{
		"button": "New registry", "wrong": args{"Name": "home", "Password": "short"},
		"values": args{"Password": "Correct-Horse-1"}, "shot": "registry-wrong",
	}, &told)
	has(t, strings.Join(told, "\n"), "at least 14")
	c.see("This registry has no devices yet")
	c.do("form", args{"button": "New device", "values": args{
		"Name": "boiler", "Password": sitePassword, "Aliases": "cellar/ = $devices/{id}/events/", "Labels": "floor = 2",
	}}, &told)
	c.see("$devices/boiler/events/")
	var hash string
	if c.do("hash", nil, &hash); hash != "#/devices/home/boiler" {
		t.Errorf("a new device is at %s", hash)
	}
	c.see("floor = 2")
	c.see("Password")

	m.pub("$devices/boiler/events", `{"temperature": 61}`)

	// What is not a pair, and what another has.
	c.do("form", args{
		"button": "Change", "wrong": args{"Labels": "nonsense"},
		"values": args{"Labels": "floor = 3", "Description": "in the cellar"},
	}, &told)
	has(t, strings.Join(told, "\n"), "nonsense")
	c.see("floor = 3")
	c.see("in the cellar")
	c.do("form", args{"button": "Add a password", "values": args{"Password": "Another-Horse-22"}})
	c.focused("Add a password")
	c.do("form", args{"button": "Add a certificate", "wrong": args{"Certificate": "nonsense"}, "values": args{"Certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newAuthority(t).cert.Raw}))}}, &told)
	c.see("Certificate ")
	var asked string
	c.do("sure", args{"button": "Remove"}, &asked)
	has(t, asked, "Remove this password?", "disconnected")
	c.focused("Add a password") // since the button is gone

	// It publishes, and is seen to have.
	c.do("form", args{
		"button": "Publish", "wrong": args{"Format": "JSON", "Payload": "{"},
		"values": args{"Format": "Hex", "Payload": "7b 7d"},
	}, &told)
	has(t, strings.Join(told, "\n"), "is not JSON")
	c.see("Published.")
	c.do("open", args{"address": "#/devices/home/boiler"})
	c.see("127.0.0.1")
	c.looks("device")

	c.do("open", args{"address": "#/devices/home"})
	c.see("boiler")
	c.looks("registry")
	c.do("sure", args{"button": "Disable"}, &asked)
	has(t, asked, "disconnected at once")
	c.see("nobody of it can log in")
	c.focused("Enable")
	c.do("press", args{"button": "Enable"})
	c.see("active")
	c.focused("Disable")

	// What stands in the file can be seen only.
	c.do("open", args{"address": "#/devices/factory/lamp"})
	c.see("It stands in the config file, in iot_registries")
	if all := c.buttons(); slices.ContainsFunc(all, func(one string) bool {
		return strings.Contains(one, "Change") || strings.Contains(one, "Delete") || strings.Contains(one, "Add")
	}) {
		t.Errorf("offered: %q", all)
	}
	c.looks("device-fixed")

	c.do("open", args{"address": "#/devices/home/boiler"})
	c.see("in the cellar")
	c.do("sure", args{"button": "Delete"}, &asked)
	has(t, asked, "Delete device boiler?")
	c.see("This registry has no devices yet")

	c.do("open", args{"address": "#/devices"})
	c.see("There is no broker yet")
	c.do("form", args{"button": "New broker", "values": args{"Name": "hall", "Password": "Correct-Horse-3"}})
	c.see("About this broker")
	c.looks("broker")
	c.do("open", args{"address": "#/devices/home"})
	c.see("This registry has no devices yet")
	c.forced("registry")
}

func TestConsoleConnections(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	c := openConsole(t, "consoleviews.mjs", m)
	c.do("open", args{"address": "#/connections"})
	c.see("Nobody is connected")
	c.looks("connections-none")

	one, _ := m.dial(m.url("/telemetry"), nil, nil)
	other, _ := m.dial(m.url("/telemetry"), nil, nil)
	c.do("open", args{"address": "#/connections"})
	c.do("count", args{"text": "2 connections"})
	c.looks("connections")
	c.do("fill", args{"label": "Search in all columns", "text": "nowhere"})
	c.see("No connection is like that")
	c.do("fill", args{"label": "Search in all columns", "text": ""})
	c.do("fill", args{"label": "Path", "text": "/telemetry"})
	var hash string
	eventually(t, "the address has the filter", func() bool {
		c.do("hash", nil, &hash)
		return hash == "#/connections?path=%2Ftelemetry"
	})
	c.do("form", args{"button": "Broadcast", "values": args{"Text": "to all"}})
	c.see("It goes to 2 connections")
	for _, ws := range []*websocket.Conn{one, other} {
		if _, text, err := ws.Read(t.Context()); err != nil || string(text) != "to all" {
			t.Errorf("read %q, %v", text, err)
		}
	}

	c.do("press", args{"button": "127.0.0.1"})
	c.see("everything of its path")
	c.looks("connection")
	c.do("form", args{"button": "Send a text", "values": args{"Text": "to one"}})
	c.see("Sent.")
	var asked string
	c.do("sure", args{"button": "Disconnect"}, &asked)
	has(t, asked, "closed with 1000")
	c.see("Disconnected.")
	c.do("open", args{"address": "#/connections"})
	c.do("count", args{"text": "1 connection"})
	c.forced("connections")
}

// Who may only look is offered nothing that is refused.
func TestConsoleViewsOfWhoMayOnlyLook(t *testing.T) {
	t.Parallel()
	m := runConsole(t)
	c := openConsole(t, "consoleviews.mjs", m)
	looker := tokenOf(t, "looker", time.Hour)
	for address, want := range map[string]string{
		"#/connections": "Nobody is connected", "#/devices": "There is no registry yet", "#/message": "may look, but not publish", "#/tail": "No message yet",
	} {
		c.do("open", args{"token": looker, "address": address})
		c.see(want)
		for _, one := range c.buttons() {
			for _, change := range []string{"New ", "Broadcast", "Publish", "Delete"} {
				if strings.HasPrefix(one, change) {
					t.Errorf("%s offers %q", address, one)
				}
			}
		}
	}
}

// Who may something on some resources only is told what is missing, offered nothing that is refused, and waits for nothing.
func TestConsoleViewsOfWhoMayLittle(t *testing.T) {
	t.Parallel()
	m := runConsole(t)
	c := openConsole(t, "consoleviews.mjs", m)
	newcomer := tokenOf(t, "newcomer", time.Hour)
	for _, address := range []string{"#/connections", "#/devices/other"} {
		c.do("open", args{"token": newcomer, "address": address})
		c.see("Nothing to show.")
		if text := c.text(); strings.Contains(text, "Broadcast") || !strings.Contains(text, "access_bindings") {
			t.Errorf("%s says %s", address, text)
		}
	}
}

func TestConsoleTailAndMessage(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry"))
	ws, _ := m.dial(m.url("/telemetry"), nil, nil)
	c := openConsole(t, "consoleviews.mjs", m)

	c.do("open", args{"address": "#/message"})
	c.do("fill", args{"label": "Device, by its ID", "text": "boiler"})
	c.do("press", args{"button": "Publish and follow"})
	c.see("It came to 1 connection.")
	c.see("Acknowledged")
	c.looks("message")
	if _, text, err := ws.Read(t.Context()); err != nil || !strings.Contains(string(text), "boiler") {
		t.Errorf("read %q, %v", text, err)
	}

	c.do("open", args{"address": "#/tail"})
	c.see("No message yet")
	c.looks("tail-none")
	eventually(t, "the tail shows a message", func() bool {
		m.pub("$devices/boiler/events", `{"temperature": 61}`)
		var text string
		c.do("text", nil, &text)
		return strings.Contains(text, "$devices/boiler/events")
	})
	c.looks("tail")
	var lines, sheet string
	c.do("download", args{"button": "Save as JSON lines"}, &lines)
	has(t, lines, `"device_id":"boiler"`, `temperature`)
	c.do("download", args{"button": "Save as CSV"}, &sheet)
	has(t, sheet, "created_at,device_id", "boiler")

	// A pause lasts, whatever is looked at meanwhile.
	c.do("press", args{"button": "Pause"})
	c.do("eval", args{"expression": `location.hash = '#/triggers'`})
	c.see("1 trigger")
	c.do("eval", args{"expression": `location.hash = '#/tail'`})
	c.do("press", args{"button": "Resume"})

	c.do("fill", args{"label": "Devices, by ID", "text": "another"})
	c.see("No message was like that yet")
	c.do("fill", args{"label": "Devices, by ID", "text": "boiler"})
	c.see("$devices/boiler/events")
	c.do("press", args{"button": ":"}) // its time
	c.see("It came to 1 connection.")
	c.looks("message-picked")

	c.do("open", args{"address": "#/devices/home/boiler"})
	c.see("temperature")
	c.looks("device-live")
	c.forced("device")
}

// What goes wrong on the way is said, with what to do about it: nobody is connected, or no trigger reads the topic.
func TestConsoleMessageThatIsLost(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry"))
	c := openConsole(t, "consoleviews.mjs", m)
	c.do("open", args{"address": "#/message?device=boiler"})
	c.see("None since iotcast began")
	c.do("press", args{"button": "Publish and follow"})
	c.see("Nobody is connected to main /telemetry")
	c.see("Let a client connect to this path")
	c.looks("message-nobody")
	c.do("fill", args{"label": "Topic", "text": "$devices/boiler/state"})
	c.do("press", args{"button": "Publish and follow"})
	c.see("no trigger has received it")
	c.forced("message")
}

// Connections, and what can be done to them, are in reach of the keyboard alone; a dialog gives the focus back.
func TestConsoleViewsByKeyboard(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	m.dial(m.url("/telemetry"), nil, nil)
	c := openConsole(t, "consoleviews.mjs", m)
	c.do("open", args{"address": "#/connections"})
	c.do("count", args{"text": "1 connection"})
	tab := func(to string) {
		t.Helper()
		var at string
		for range 40 {
			if c.do("keys", args{"keys": []string{"Tab"}}, &at); strings.HasPrefix(at, to) {
				return
			}
		}
		t.Fatalf("Tab does not come to %s", to)
	}
	tab("127.0.0.1")
	c.do("keys", args{"keys": []string{"Enter"}})
	c.see("everything of its path")
	tab("Disconnect")
	var at string
	c.do("keys", args{"keys": []string{"Enter", "Escape"}}, &at)
	if !strings.HasPrefix(at, "Disconnect") {
		t.Errorf("after the dialog the focus is at %q", at)
	}
	c.do("keys", args{"keys": []string{"Enter", "Tab", "Enter"}})
	c.see("Disconnected.")
}
