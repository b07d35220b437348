package tests

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// mustNotStart runs iotcast on a configuration that cannot work: it must end by
// itself, with an error that names all of want.
func mustNotStart(t *testing.T, config string, want ...string) {
	t.Helper()
	printed, code := runProgram(t, binary, "run", writeFile(t, config))
	if code == 0 {
		t.Error("exit code 0")
	}
	mustName(t, printed, want...)
}

// mustLint expects iotcast lint to find what is wrong.
func mustLint(t *testing.T, config string, want ...string) {
	t.Helper()
	printed, code := runProgram(t, binary, "lint", writeFile(t, config))
	if code == 0 {
		t.Errorf("lint found nothing:\n%s", printed)
	}
	mustName(t, printed, want...)
}

func mustName(t *testing.T, printed string, want ...string) {
	t.Helper()
	for _, text := range want {
		if !strings.Contains(strings.ReplaceAll(printed, `\"`, `"`), text) {
			t.Errorf("what was printed does not name %s:\n%s", text, printed)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	b := startMosquitto(t)
	config := root(l.Addr().String(), freeAddress(t)) + trigger(b, "broker_id: factory", "")
	mustNotStart(t, config, "websocket_gateways", `"main"`, l.Addr().String(), "address already in use")

	// Lint binds nothing, so it has nothing to say.
	if printed, code := runProgram(t, binary, "lint", writeFile(t, config)); code != 0 {
		t.Errorf("lint: exit code %d\n%s", code, printed)
	}
}

func TestMalformedConfig(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	good := func() string {
		return root(freeAddress(t), freeAddress(t)) + trigger(b, "broker_id: factory", "")
	}
	for name, test := range map[string]struct {
		old, new string
		linted   bool
		want     []string
	}{
		"max_bytes of another type": {old: "iot_trigger: {}", new: "iot_trigger: { max_bytes: much }", want: []string{"max_bytes"}},
		"max_bytes too small":       {old: "iot_trigger: {}", new: "iot_trigger: { max_bytes: 10 }", linted: true, want: []string{"max_bytes", "512"}},
		"no label":                  {old: "label: main\n    address", new: "address", linted: true, want: []string{"label"}},
		"empty label":               {old: "label: main", new: `label: ""`, linted: true, want: []string{"label"}},
		"no routes":                 {old: "routes: [ { path: /telemetry }, { path: /alarms } ]", new: "routes: []", linted: true, want: []string{"routes"}},
		"no port":                   {old: "    address: \"127.0.0.1:", new: "    address: \"127.0.0.1#", linted: true, want: []string{"address"}},
		"unknown gateway":           {old: "gateway: main", new: "gateway: side", want: []string{`"side"`, `"main"`}},
		"no source":                 {old: "broker_id: factory", new: "qos: 1", linted: true, want: []string{"registry_id", "broker_id"}},
		"QoS 3":                     {old: "broker_id: factory", new: "broker_id: factory\n    qos: 3", linted: true, want: []string{"qos"}},
		"unknown policy":            {old: "    routes:", new: "    slow_consumer: shout\n    routes:", linted: true, want: []string{"shout", "not a valid option"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := strings.Replace(good(), test.old, test.new, 1)
			if config == good() {
				t.Fatalf("%q is not in the config", test.old)
			}
			mustNotStart(t, config, test.want...)
			if test.linted {
				mustLint(t, config, test.want...)
			}
		})
	}
	if printed, code := runProgram(t, binary, "lint", writeFile(t, good())); code != 0 {
		t.Errorf("lint of the good config: exit code %d\n%s", code, printed)
	}
}

// A broker that refuses the input may accept it later: iotcast stays, is not
// ready, and says why.
func mustNotConnect(t *testing.T, b *broker, input string, want ...string) {
	t.Helper()
	c := newIotcast(t)
	c.launch("run", writeFile(t, root(c.gateway, c.http)+trigger(b, input, "")))
	for _, text := range want {
		c.waitLog(text)
	}
	eventually(t, "iotcast answers that it is not ready", func() bool {
		status, _ := c.tryRequest(http.MethodGet, "/ready", "")
		return status == http.StatusServiceUnavailable
	})
	c.terminate()
}

// An acl_file of mosquitto 2.0 never refuses a subscription, it only withholds
// the messages; its dynamic security plugin does refuse.
func TestRefusedSubscription(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	control := func(args ...string) {
		t.Helper()
		if out, code := runProgram(t, toolPath("mosquitto_ctrl"), args...); code != 0 {
			t.Fatal(out)
		}
	}
	roles := filepath.Join(dir, "dynamic-security.json")
	control("dynsec", "init", roles, "admin", "secret")
	b := startMosquittoIn(t, dir, "allow_anonymous false",
		"plugin "+dynamicSecurity(t), "plugin_opt_config_file "+roles)
	host, port, _ := net.SplitHostPort(b.addr)
	control("-h", host, "-p", port, "-u", "admin", "-P", "secret", "dynsec", "createClient", "iotcast", "-p", "right")
	mustNotConnect(t, b, "broker_id: factory\ntopics: [ hall/press ]\nuser: iotcast\npassword: right",
		"the broker refused the topic filter", "hall/press")
}

func dynamicSecurity(t *testing.T) string {
	t.Helper()
	const name = "mosquitto_dynamic_security.so"
	for _, pattern := range []string{"/usr/lib/*/", "/usr/lib/", "/usr/local/lib/"} {
		if found, _ := filepath.Glob(pattern + name); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatalf("%s is needed: apt-get install mosquitto", name)
	return ""
}
