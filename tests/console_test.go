package tests

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	jwtlib "github.com/golang-jwt/jwt/v5"
)

// consoleBrowser is the console in a browser, where scenarios of a file of clients/ run.
type consoleBrowser struct {
	t     *testing.T
	stdin io.Writer
	out   *bufio.Reader
}

// args are those of a scenario.
type args map[string]any

func openConsole(t *testing.T, scenarios string, m *managed) *consoleBrowser {
	t.Helper()
	return openConsoleAt(t, scenarios, "http://"+m.api+"/")
}

func openConsoleAt(t *testing.T, scenarios, url string) *consoleBrowser {
	t.Helper()
	dir := filepath.Dir(screenshot)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, stdin, out := converse(t, "console", exec.Command(toolPath("node"), "clients/"+scenarios, toolPath("chromium"), url, dir))
	return &consoleBrowser{t: t, stdin: stdin, out: bufio.NewReader(out)}
}

// do runs a scenario. Its result goes into the last argument, where there is one.
func (c *consoleBrowser) do(name string, with args, result ...any) {
	c.t.Helper()
	line, err := json.Marshal(map[string]any{"name": name, "args": with})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.stdin.Write(append(line, '\n')); err != nil {
		c.t.Fatal(err)
	}
	read, err := c.out.ReadBytes('\n')
	if err != nil {
		c.t.Fatalf("%s: the browser has ended: %v", name, err)
	}
	var answer struct {
		Result json.RawMessage
		Failed string
		Errors []string
	}
	if err := json.Unmarshal(read, &answer); err != nil {
		c.t.Fatalf("%s: answer of the browser %.300q: %v", name, read, err)
	}
	if answer.Failed != "" {
		c.t.Errorf("%s: %s", name, answer.Failed)
	}
	if len(answer.Errors) > 0 {
		c.t.Errorf("%s: in the browser: %s", name, strings.Join(answer.Errors, "\n"))
	}
	if c.t.Failed() {
		c.t.FailNow()
	}
	for _, into := range result {
		if err := json.Unmarshal(answer.Result, into); err != nil {
			c.t.Fatalf("%s: result %.300s: %v", name, answer.Result, err)
		}
	}
}

// looks keeps screenshots of what is open, and holds it to what axe asks for.
func (c *consoleBrowser) looks(name string) {
	c.t.Helper()
	c.found("looks", name)
}

// forced does so in forced colours and at 200 %. It is the last thing that a test does.
func (c *consoleBrowser) forced(name string) {
	c.t.Helper()
	c.found("forced", name)
}

func (c *consoleBrowser) found(scenario, name string) {
	c.t.Helper()
	var found []string
	c.do(scenario, args{"name": name}, &found)
	for _, one := range found {
		c.t.Error(one)
	}
}

// text is what the view says.
func (c *consoleBrowser) text() (text string) {
	c.t.Helper()
	c.do("text", nil, &text)
	return text
}

// runConsole runs a managed process with the console, whose accounts are admin, looker, who may only look, and newcomer, who may
// nothing on everything.
func runConsole(t *testing.T) *managed {
	t.Helper()
	m := newManaged(t)
	m.launch("streams", "-o", writeFile(t, m.root(
		"console: true",
		"tokens: { secret: '"+tokenSecret+"', audiences: [ iotcast ] }",
		"access_bindings:",
		"  - { service_account_id: admin, roles: [ admin ] }",
		"  - { service_account_id: looker, roles: [ viewer ] }",
		"  - { service_account_id: newcomer, roles: [ editor ], resources: [ home ] }",
	)))
	m.waitReady()
	return m
}

// tokenOf is the token of an account, for as long as it says.
func tokenOf(t *testing.T, account string, lasts time.Duration) string {
	t.Helper()
	raw, err := jwtlib.NewWithClaims(jwtlib.SigningMethodHS256, jwtlib.MapClaims{
		"sub": account, "aud": "iotcast", "exp": time.Now().Add(lasts).Unix(),
	}).SignedString([]byte(tokenSecret))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestConsoleLogin(t *testing.T) {
	t.Parallel()
	m := runConsole(t)
	c := openConsole(t, "console.mjs", m)

	var told []string
	c.do("wrong", args{"tokens": []string{
		" ", "nonsense", tokenOf(t, "admin", -time.Hour),
	}}, &told)
	if told[0] != "Paste a token first." || !strings.Contains(told[1], "not accepted") || !strings.Contains(told[2], "expired") {
		t.Errorf("it says %q", told)
	}
	c.looks("login")

	var hash string
	c.do("open", args{"token": tokenOf(t, "admin", time.Hour), "address": "#/triggers"})
	var kept struct {
		Local, Session int
		Cookie         string
	}
	c.do("leave", nil, &kept)
	if kept.Local+kept.Session != 0 || kept.Cookie != "" {
		t.Errorf("the browser keeps %+v", kept)
	}
	c.do("enter", args{"token": tokenOf(t, "looker", time.Hour)}, &hash)
	if hash != "#/triggers" {
		t.Errorf("after another login the view is %s", hash)
	}

	// Who may not see all is told what is missing.
	c.do("open", args{"token": tokenOf(t, "newcomer", time.Hour), "address": "#/overview"})
	if text := c.text(); !strings.Contains(text, "newcomer") || !strings.Contains(text, "viewer") || !strings.Contains(text, "access_bindings") {
		t.Errorf("it says %s", text)
	}
	var views []string
	c.do("views", nil, &views)
	if slices.Contains(views, "Overview") {
		t.Errorf("it offers %q", views)
	}
	c.looks("role-missing")

	// A token that ends while somebody looks leads to the login, and back.
	c.do("open", args{"token": tokenOf(t, "admin", 3*time.Second), "address": "#/triggers"})
	var end struct{ Told, Hash string }
	c.do("expire", nil, &end)
	if !strings.Contains(end.Told, "expired") {
		t.Errorf("it says %q", end.Told)
	}
	c.do("enter", args{"token": tokenOf(t, "admin", time.Hour)}, &hash)
	if hash != end.Hash {
		t.Errorf("after another login the view is %s", hash)
	}
}

func TestConsoleViewsHaveAddresses(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	c := openConsole(t, "console.mjs", m)
	c.do("open", args{"address": "#/overview"})
	var seen []string
	c.do("history", nil, &seen)
	want := []string{"#/triggers Triggers · iotcast", "view", "#/overview Overview · iotcast", "#/triggers Triggers · iotcast", "#/triggers Triggers · iotcast"}
	if !slices.Equal(seen, want) {
		t.Errorf("seen %q", seen)
	}
}

// A server that goes is missed, and one that is back is found, by the page itself.
func TestConsoleServerGoneAndBack(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	root := writeFile(t, m.root("console: true"))
	m.launch("streams", "-o", root)
	m.waitReady()
	c := openConsole(t, "console.mjs", m)
	c.do("open", args{"address": "#/overview"})
	m.terminate()
	c.do("away", nil)
	c.looks("away")
	m.relaunch()
	m.waitReady()
	c.do("back", nil)
}

// A trigger is made, changed, paused and deleted in the console.
func TestConsoleTriggers(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	c := openConsole(t, "console.mjs", m)
	c.do("open", args{"address": "#/triggers"})
	c.do("see", args{"text": "No trigger yet"})
	c.looks("triggers-none")

	var made struct {
		Name, YAML, Hash string
		Found            []string
	}
	c.do("create", nil, &made)
	if made.Hash != "#/triggers/telemetry" || made.Name == "" || !strings.Contains(made.YAML, "websocket_broadcast") {
		t.Errorf("it shows %+v", made)
	}
	for _, one := range made.Found {
		t.Error(one)
	}
	if status, answer := m.rest("GET", "/triggers/v1/triggers/telemetry", ""); status != 200 || !strings.Contains(answer, `$devices/+/events`) {
		t.Fatalf("%d %s", status, answer)
	}
	c.looks("trigger")
	c.do("press", args{"button": "Pause", "see": "paused"})
	c.do("press", args{"button": "Resume", "see": "connected"})

	// Who was faster is told, and what there is now is shown.
	c.do("follow", args{"link": "Change"})
	c.do("see", args{"text": "Change telemetry"})
	m.change("PATCH", "/triggers/v1/triggers/telemetry", `{"updateMask": "description", "description": "of somebody else"}`)
	c.do("change", args{"label": "Description", "value": "mine", "see": "was faster"})
	c.looks("trigger-conflict")
	c.do("press", args{"button": "Show what it is now"})
	c.do("see", args{"text": "It can be saved"})
	c.do("change", args{"label": "Description", "value": "of us both", "see": "of us both"})
	c.do("follow", args{"link": "All triggers"})
	c.do("see", args{"text": "1 trigger"})
	c.looks("triggers")

	c.do("open", args{"address": "#/triggers/telemetry"})
	var focus string
	c.do("remove", nil, &focus)
	if focus != "Delete" {
		t.Errorf("after the dialog the focus is at %q", focus)
	}
}

// Without streams mode the page says how to get it.
func TestConsoleWithoutStreams(t *testing.T) {
	t.Parallel()
	m := newManaged(t)
	m.launch("run", writeFile(t, m.root("console: true")+"input: { generate: { mapping: 'root = 1', interval: 1h } }\noutput: { drop: {} }\n"))
	m.waitReady()
	c := openConsole(t, "console.mjs", m)
	c.do("open", args{"address": "#/triggers"})
	c.do("see", args{"text": "Triggers need the streams mode"})
	c.looks("triggers-no-streams")
}

// Who may only look is offered nothing else.
func TestConsoleOfWhoMayOnlyLook(t *testing.T) {
	t.Parallel()
	m := runConsole(t)
	c := openConsole(t, "console.mjs", m)
	c.do("open", args{"token": tokenOf(t, "looker", time.Hour), "address": "#/triggers"})
	c.do("see", args{"text": "No trigger yet"})
	var buttons []string
	if c.do("buttons", nil, &buttons); len(buttons) > 0 {
		t.Errorf("it offers %q", buttons)
	}
	c.looks("looker")
}

// The overview says what is wrong, what to do next, and what flows.
func TestConsoleOverview(t *testing.T) {
	t.Parallel()
	m := runManaged(t, "console: true")
	c := openConsole(t, "console.mjs", m)
	c.do("open", args{"address": "#/overview"})
	c.do("see", args{"text": "No trigger yet"})
	c.do("see", args{"text": "Nobody is connected"})
	c.looks("overview-none")

	m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry"))
	connectGo(t, m.url("/telemetry"))
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
				m.pub("$devices/boiler/events", `{"temperature": 61}`)
			}
		}
	}()
	for _, label := range []string{"Messages in", "Envelopes", "Deliveries", "Connections"} {
		c.do("figure", args{"label": label})
	}
	close(stop)
	<-ended
	c.do("see", args{"text": "telemetry"})
	c.looks("overview")

	// What is wrong stands above.
	m.post("/triggers/v1/triggers/telemetry:pause", "{}")
	m.change("POST", "/iot-devices/v1/registries/home:disable", "{}")
	m.post("/triggers/v1/triggers/telemetry:resume", "{}")
	c.do("wrong-finding", nil)
	c.looks("overview-wrong")
	c.forced("overview")
}

// What a trigger has lost is there to be read, and to be published again.
func TestConsoleLosses(t *testing.T) {
	t.Parallel()
	template := writeFile(t, "input: { iot_mqtt: { qos: 1, clean_session: false } }\n"+
		"pipeline: { processors: [ mapping: 'root = throw(\"no such unit\")', iot_trigger: {} ] }\n"+
		"output: { websocket_broadcast: {} }\n")
	m := runManaged(t, "console: true", "trigger_template: '"+template+"'")
	m.post("/triggers/v1/triggers", telemetry("$devices/+/events", "/telemetry"))
	m.pub("$devices/boiler/events", `{"temperature": 61}`)
	c := openConsole(t, "console.mjs", m)
	eventually(t, "the message is lost", func() bool {
		_, answer := m.rest("GET", "/tap/losses", "")
		return strings.Contains(answer, "boiler")
	})
	c.do("open", args{"address": "#/triggers/telemetry"})
	c.do("see", args{"text": "no such unit"})
	c.do("see", args{"text": `"temperature": 61`})
	c.looks("trigger-losses")
	c.do("press", args{"button": "Publish again"})
	c.do("confirm", args{"button": "Publish", "see": "Published."})
	c.forced("trigger")
}
