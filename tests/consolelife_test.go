package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// How the console lives with its connections, with clocks, and with those who may see a part.

// expression evaluates one in the page.
func (c *consoleBrowser) expression(text string) (value string) {
	c.t.Helper()
	c.do("eval", args{"expression": text}, &value)
	return value
}

// events are server-sent events, each a document.
func events(documents ...any) string {
	var b strings.Builder
	for _, one := range documents {
		text, err := json.Marshal(one)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "data: %s\n\n", text)
	}
	return b.String()
}

// postAs makes something in the name of an account.
func (m *managed) postAs(account, path, body string) {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, "http://"+m.api+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+tokenOf(m.t, account, time.Hour))
	res, err := apiClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		m.t.Fatalf("%s: %s", path, res.Status)
	}
}

// A browser has six connections to a host over plain HTTP, for all of its tabs: those that nobody sees leave them to the one
// that somebody does.
func TestConsoleInManyTabs(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry"))
	c := openConsole(t, "consoleviews.mjs", m)
	c.do("tabs", args{"tabs": 5})
	c.do("shows", args{"tab": 0, "text": "is missing here: nobody looked at this page"})
	eventually(t, "the tab that is seen again shows a message", func() bool {
		m.pub("$devices/boiler/events", `{"temperature": 61}`)
		var text string
		c.do("tabText", args{"tab": 0}, &text)
		return strings.Contains(text, "$devices/boiler/events")
	})
	var text string
	if c.do("tabText", args{"tab": 1}, &text); strings.Contains(text, "boiler") {
		t.Errorf("a tab that is hidden goes on: %s", text)
	}
}

// What is asked for and does not come is said in words, and is not said any more once it has come.
func TestConsoleWaitsInWords(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	c := openConsole(t, "consoleviews.mjs", m)
	c.do("clock", nil)
	c.do("answer", args{"to": "/v1/registries?"})
	c.do("open", args{"address": "#/devices"})
	c.see("There is no broker yet")
	c.do("later", args{"seconds": 21})
	c.see("has not answered within 20 s")
	c.do("asAlways", nil)
	m.post("/iot-devices/v1/registries", `{"name": "hall"}`)
	c.do("later", args{"seconds": 11})
	c.see("hall")
	c.do("unseen", args{"text": "has not answered"})

	// Lists keep up with what others do.
	m.post("/iot-broker/v1/brokers", `{"name": "attic"}`)
	c.do("later", args{"seconds": 11})
	c.see("attic")
	c.do("open", args{"address": "#/triggers"})
	c.see("No trigger yet")
	m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry"))
	c.do("later", args{"seconds": 11})
	c.see("1 trigger")

	// So with one thing, and with one connection.
	m.dial(m.url("/telemetry"), nil, nil)
	for address, to := range map[string]string{"#/devices/home": "/v1/registries/home", "#/devices/home/boiler": "/v1/devices/boiler"} {
		c.do("open", args{"address": address})
		c.see("About this")
		c.do("answer", args{"to": to, "status": 500, "body": `{"code": 13, "message": "a fault of the test"}`})
		c.do("later", args{"seconds": 11})
		c.see("a fault of the test")
		c.do("asAlways", nil)
		c.do("later", args{"seconds": 11})
		c.do("unseen", args{"text": "a fault of the test"})
	}
}

// A clock that is set back hides nothing: neither that of iotcast, nor that of whoever wrote a time.
func TestConsoleClockIsSetBack(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	c := openConsole(t, "consoleviews.mjs", m)
	at := time.Now()
	message := func(ago time.Duration, value int) any {
		return args{"messages": []any{args{
			"event_metadata": args{"event_id": fmt.Sprint(value), "created_at": at.Add(-ago)},
			"details":        args{"registry_id": "home", "device_id": "boiler", "mqtt_topic": "$devices/boiler/events", "payload": fmt.Appendf(nil, `{"temperature": %d}`, value)},
		}}}
	}
	c.do("answer", args{"to": "/tap/latest", "body": events(message(0, 61))[len("data: "):]})
	live := events(message(0, 61), message(10*time.Minute+time.Second, 62), message(10*time.Minute, 63))
	c.do("answer", args{"to": "/tap?", "type": "text/event-stream", "body": live})
	c.do("open", args{"address": "#/devices/home/boiler"})
	c.see("temperature")
	eventually(t, "the chart has all values", func() bool {
		return strings.Contains(c.expression(`document.querySelector('.charts .panel header span')?.textContent ?? ''`), "61 to 63")
	})
	if now := c.expression(`document.querySelector('.body > .facts dd').textContent`); now != "63" {
		t.Errorf("the value is %s", now)
	}
	c.do("open", args{"address": "#/devices/home"})
	c.see("temperature 63")

	// The overview's hour holds what was before, too.
	sample := func(ago time.Duration, received int) any {
		return args{"at": at.Add(-ago), "triggers": args{"telemetry": args{"received": received, "connected": true}}, "routes": args{}}
	}
	body := events(args{"period_seconds": 5, "findings": []any{}, "samples": []any{
		sample(10*time.Second, 7), sample(5*time.Second, 8), sample(10*time.Minute, 5),
	}})
	c.do("answer", args{"to": "/console/overview", "type": "text/event-stream", "body": body})
	c.do("open", args{"address": "#/overview"})
	eventually(t, "the chart has all samples", func() bool {
		return c.expression(`document.querySelector('[aria-label="Messages in"] header span')?.textContent ?? ''`) == "5.0 to 8.0 a second"
	})
}

// What is no trigger leads nowhere, or to where it is said what it is.
func TestConsoleOverviewOfStreamsAndOthers(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	stream := filepath.Join(t.TempDir(), "by_file.yaml")
	if err := os.WriteFile(stream, []byte("input: { generate: { mapping: 'root = 1', interval: 1h } }\noutput: { drop: {} }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.launch("streams", "-o", writeFile(t, m.root("console: true")), stream)
	m.waitReady()
	c := openConsole(t, "consoleviews.mjs", m)
	some := args{"received": 1, "connected": true}
	body := events(args{"period_seconds": 5, "findings": []any{}, "samples": []any{args{
		"at": time.Now(), "triggers": args{"(others)": some, "by_file": some},
		"routes": args{"(others)": args{"connections": 1}, "main /telemetry": args{"connections": 1}},
	}}})
	c.do("answer", args{"to": "/console/overview", "type": "text/event-stream", "body": body})
	c.do("open", args{"address": "#/overview"})
	c.see("by_file")
	if all := c.buttons(); slices.ContainsFunc(all, func(one string) bool { return strings.Contains(one, "others") }) || !slices.Contains(all, "main /telemetry") {
		t.Errorf("it leads to %q", all)
	}
	if all := c.expression(`[...document.querySelectorAll('tbody th')].map(th => th.textContent).join()`); strings.Count(all, "all others, together") != 2 {
		t.Errorf("the rows are %s", all)
	}
	c.do("press", args{"button": "by_file"})
	c.see("by_file is a stream, but no trigger")
}

// Whose role holds on some resources only is offered the views of those, and nothing of the others.
func TestConsoleOfWhoMaySeeAPart(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	m.launch("streams", "-o", writeFile(t, m.root(
		"console: true",
		"tokens: { secret: '"+tokenSecret+"', audiences: [ iotcast ] }",
		"access_bindings:",
		"  - { service_account_id: admin, roles: [ admin ] }",
		"  - { service_account_id: plumber, roles: [ viewer ], resources: [ telemetry, boiler ] }",
	)))
	m.waitReady()
	for _, one := range [][2]string{
		{"/iot-devices/v1/registries", `{"name": "home"}`},
		{"/iot-devices/v1/devices", fmt.Sprintf(`{"registryId": "home", "name": "boiler", "password": %q}`, sitePassword)},
		{"/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry")},
	} {
		m.postAs("admin", one[0], one[1])
	}
	c := openConsole(t, "consoleviews.mjs", m)
	c.do("open", args{"token": tokenOf(t, "plumber", time.Hour), "address": "#/"})
	c.see("1 trigger")
	if views := c.expression(`[...document.querySelectorAll('#nav a')].map(a => a.textContent).join()`); views != "Triggers,Connections,Devices" {
		t.Errorf("it offers %s", views)
	}
	c.do("press", args{"button": "telemetry"})
	c.see("Messages in")
	c.do("eval", args{"expression": `location.hash = '#/devices'`})
	c.see("boiler")
	eventually(t, "what there is none of is said", func() bool { return strings.Count(c.text(), "None that your account may see") == 2 })
	c.do("press", args{"button": "boiler"})
	c.see("About this device")
}

// Behind a proxy that ends TLS all of it works, too: the page calls, follows and changes.
func TestConsoleBehindTLS(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry"))
	c := openConsoleAt(t, "consoleviews.mjs", "https://"+tlsFront(t, m.api)+"/")
	c.do("open", args{"address": "#/devices/home"})
	c.see("boiler")
	c.do("form", args{"button": "Add a password", "values": args{"Password": "Another-Horse-22"}})
	c.do("open", args{"address": "#/message?device=boiler"})
	c.do("press", args{"button": "Publish and follow"})
	c.see("Nobody is connected to main /telemetry")
}
