package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// timeless is what was printed without times and random IDs.
func timeless(printed string) string {
	printed = regexp.MustCompile(`"?20\d\d-\d\d-\d\dT[0-9:.]+Z"?`).ReplaceAllString(printed, "TIME")
	return regexp.MustCompile(`\b[0-9a-f]{20,}\b`).ReplaceAllString(printed, "RANDOM")
}

// mustPrint runs a command that must print this.
func (d *desk) mustPrint(want string, args ...string) {
	d.t.Helper()
	if got := timeless(d.do(args...)); got != want {
		d.t.Errorf("iotcast %s has printed:\n%s\nwant:\n%s", strings.Join(args, " "), got, want)
	}
}

// Registries and devices from their creation to their end, as somebody at a keyboard sees them.
func TestRegistryAndDeviceCommands(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	d.mustPrint(`id: home
created_at: TIME
name: home
description: My home
labels:
  floor: "2"
  site: hall-7
status: ACTIVE
`, "registry", "create", "home", "--description", "My home", "--labels", "site=hall-7,floor=2")
	d.mustPrint(`id: boiler
registry_id: home
created_at: TIME
name: boiler
topic_aliases:
  cellar/: $devices/boiler/events/
status: ACTIVE
`, "device", "create", "--name", "boiler", "--registry-name", "home", "--topic-aliases", "cellar/=$devices/{id}/events/")

	// A device may be called as another is, of another registry.
	d.do("registry", "create", "office")
	again := d.do("device", "create", "boiler", "--registry-id", "office", "--format", "json")
	var second struct{ ID, Name string }
	if err := json.Unmarshal([]byte(again), &second); err != nil || second.Name != "boiler" || second.ID == "boiler" {
		t.Fatalf("%v: %s", err, again)
	}
	d.mustFail([]string{`"boiler"`, "taken"}, "device", "create", "boiler", "--registry-id", "office")
	again = d.do("device", "get", "boiler", "--registry-name", "office", "--format", "json")
	for _, selection := range [][]string{
		{"--name", "boiler", "--registry-id", "office"},
		{second.ID},
		{"--id", second.ID},
		{second.ID, "--registry-name", "office"},
	} {
		if got := d.do(append([]string{"device", "get", "--format", "json"}, selection...)...); got != again {
			t.Errorf("%q: %s, want %s", selection, got, again)
		}
	}
	d.mustFail([]string{`"boiler"`, "--registry-name"}, "device", "get", "--name", "boiler")
	d.mustFail([]string{`"home"`, `"office"`}, "device", "get", "--id", second.ID, "--registry-name", "home")

	list := d.do("device", "list")
	for _, want := range []string{"pump    pump    fixed     ACTIVE\n", "boiler  boiler  home      ACTIVE\n"} {
		if !strings.Contains(regexp.MustCompile(` +`).ReplaceAllString(list, " "), regexp.MustCompile(` +`).ReplaceAllString(want, " ")) {
			t.Errorf("no %q in:\n%s", want, list)
		}
	}
	var forms []map[string]any
	if err := json.Unmarshal([]byte(d.do("device", "list", "--registry-id", "home", "--format", "json-rest")), &forms); err != nil || len(forms) != 1 || forms[0]["registryId"] != "home" {
		t.Errorf("%v %v", err, forms)
	}

	d.mustPrint("ALIAS    TOPIC PREFIX             DEVICE\ncellar/  $devices/boiler/events/  boiler\n", "registry", "list-device-topic-aliases", "home")
	d.do("device", "add-topic-aliases", "boiler", "--topic-aliases", "attic/=$devices/boiler/state/,cellar/=$devices/boiler/commands/")
	d.do("device", "remove-topic-aliases", "boiler", "--topic-aliases", "attic/")
	d.mustPrint("ALIAS    TOPIC PREFIX               DEVICE\ncellar/  $devices/boiler/commands/  boiler\n", "registry", "list-device-topic-aliases", "home")
	d.mustFail([]string{"--topic-aliases", `"attic/"`, `"cellar/"`}, "device", "remove-topic-aliases", "boiler", "--topic-aliases", "attic/")

	d.do("registry", "add-labels", "home", "--labels", "floor=3,kind=flat")
	d.do("registry", "remove-labels", "home", "--labels", "site")
	d.mustPrint(`id: home
created_at: TIME
name: house
labels:
  floor: "3"
  kind: flat
status: ACTIVE
`, "registry", "update", "home", "--new-name", "house", "--description", "")
	d.mustPrint("- id: home\n  created_at: TIME\n  name: house\n  labels:\n    floor: \"3\"\n    kind: flat\n  status: DISABLED\n- id: office\n  created_at: TIME\n  name: office\n  status: DISABLED\n",
		"registry", "disable", "house", "office", "--format", "yaml")
	d.do("registry", "enable", "--name", "house")
	if operations := d.do("registry", "list-operations", "house"); !strings.Contains(operations, "Disable registry") || strings.Count(operations, "\n") != 7 {
		t.Errorf("operations:\n%s", operations)
	}

	d.mustFail([]string{"pump", "iot_registries"}, "device", "update", "pump", "--description", "x")
	d.mustFail([]string{"has devices"}, "registry", "delete", "office")
	if _, stderr, code := d.command("", "device", "delete", "boiler", second.ID); code != 0 || stderr != "Deleted device boiler.\nDeleted device boiler.\n" {
		t.Errorf("delete: exit code %d, %s", code, stderr)
	}
	d.do("registry", "delete", "office", "house")
	d.mustPrint("ID     NAME   STATUS\nfixed  fixed  ACTIVE\n", "registry", "list")
}

func TestBrokerCommands(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	d.mustPrint("[]\n", "broker", "list", "--format", "yaml")
	d.mustPrint("id: factory\ncreated_at: TIME\nname: factory\nstatus: ACTIVE\n", "broker", "create", "factory")
	d.do("broker", "add-labels", "factory", "--labels", "hall=7")
	d.do("broker", "update", "factory", "--new-name", "works")
	d.mustPrint("ID       NAME   STATUS\nfactory  works  ACTIVE\n", "broker", "list")
	d.do("broker", "create", "factory") // the ID of one and the name of another
	d.mustFail([]string{`"factory"`, `"works"`, "--id", "--name"}, "broker", "get", "factory")
	d.mustPrint("id: factory\ncreated_at: TIME\nname: works\nlabels:\n  hall: \"7\"\nstatus: ACTIVE\n", "broker", "get", "--id", "factory")
	d.do("broker", "delete", "--name", "factory")
	d.do("broker", "delete", "factory")
	d.mustPrint("[]\n", "broker", "list", "--format", "json")
}

// Passwords and certificates that commands give are those by which devices log in, and no others.
func TestCredentialCommands(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	d.do("registry", "create", "home")
	publish := func(password string) (stderr string, code int) {
		_, stderr, code = d.command("", "mqtt", "publish", "-u", "boiler", "-P", password, "-q", "1", "-t", "$devices/boiler/events", "-m", "x")
		return stderr, code
	}
	stdout, stderr, code := d.command("", "device", "create", "boiler", "--registry-name", "home",
		"--generate-password", "--format", "json")
	var device struct{ ID, Password string }
	if err := json.Unmarshal([]byte(stdout), &device); err != nil || code != 0 || len(device.Password) < 20 {
		t.Fatalf("%v %s", err, stdout)
	}
	mustName(t, stderr, "not shown again")
	if stderr, code := publish(device.Password); code != 0 {
		t.Error(stderr)
	}
	stderr, code = publish("Correct-Horse-1")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	mustName(t, stderr, "--username", "--password")

	d.doWith("Correct-Horse-1\n", "device", "password", "add", "boiler", "--read-password")
	second := timelessID(t, d.do("device", "password", "add", "--device-name", "boiler", "--registry-name", "home",
		"--password", "Correct-Horse-2", "--format", "json"))
	for _, password := range []string{"Correct-Horse-1", "Correct-Horse-2"} {
		if stderr, code := publish(password); code != 0 {
			t.Error(stderr)
		}
	}
	if list := d.do("device", "password", "list", "--device-id", "boiler"); strings.Count(list, "\n") != 4 || !strings.Contains(list, second) || strings.Contains(list, "Correct") {
		t.Errorf("listed:\n%s", list)
	}
	d.do("device", "password", "delete", "boiler", "--password-id", second)
	if _, code := publish("Correct-Horse-2"); code != 1 {
		t.Error("a password that was deleted lets in")
	}
	d.mustFail([]string{second}, "device", "password", "delete", "boiler", "--password-id", second)
	d.mustFail([]string{"14"}, "device", "password", "add", "boiler", "--password", "short")
	d.mustFail([]string{"--password", "--generate-password"},
		"device", "password", "add", "boiler", "--password", "Correct-Horse-3", "--generate-password")
	d.mustFail([]string{"--read-password"}, "device", "password", "add", "boiler")

	file := filepath.Join(t.TempDir(), "device.pem")
	newAuthority(t).issue("boiler", file, file+".key")
	added := d.do("registry", "certificate", "add", "--registry-name", "home", "--certificate-file", file)
	mustName(t, added, "registry_id: home\n", "certificate_data: |\n", "-----BEGIN CERTIFICATE-----")
	_, fingerprint, _ := strings.Cut(strings.Split(added, "\n")[1], ": ")
	d.mustFail([]string{fingerprint}, "registry", "certificate", "add", "home", "--certificate-file", file)
	mustName(t, d.do("registry", "certificate", "list", "home"), fingerprint)
	d.mustFail([]string{"--fingerprint"}, "registry", "certificate", "delete", "home")
	d.do("registry", "certificate", "delete", "home", "--fingerprint", fingerprint)
	d.mustPrint("FINGERPRINT  CREATED AT\n", "registry", "certificate", "list", "home")
	d.mustFail([]string{"--certificate-file", "no-such-file"},
		"registry", "certificate", "add", "home", "--certificate-file", "no-such-file")
	if strings.Contains(d.out.String(), "Correct-Horse") || strings.Contains(d.out.String(), device.Password) {
		t.Error("the log holds a password")
	}
}

func timelessID(t *testing.T, printed string) string {
	t.Helper()
	var m struct{ ID string }
	if err := json.Unmarshal([]byte(printed), &m); err != nil || m.ID == "" {
		t.Fatalf("%v: %s", err, printed)
	}
	return m.ID
}

// Of changes at once, each is there afterwards or its command is told that it is not.
func TestResourceChangesAtOnce(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	d.do("registry", "create", "home")
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		done []string // guarded by mu
	)
	for i := range 12 {
		all.Go(func() {
			label := fmt.Sprintf("key-%d=x", i)
			_, stderr, code := d.command("", "registry", "add-labels", "home", "--labels", label)
			if code != 0 {
				mustName(t, stderr, "changed by somebody else", "try again")
				return
			}
			mu.Lock()
			defer mu.Unlock()
			done = append(done, strings.Replace(label, "=", ": ", 1))
		})
	}
	all.Wait()
	if len(done) == 0 {
		t.Error("nobody has won")
	}
	printed := d.do("registry", "get", "home")
	mustName(t, printed, done...)
	if n := strings.Count(printed, "key-"); n != len(done) {
		t.Errorf("%d labels, %d commands have added one:\n%s", n, len(done), printed)
	}
}

// Errors are one line that names the flag and says what to do.
func TestResourceErrors(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	d.do("registry", "create", "home")
	before := d.do("registry", "list", "--format", "json")
	for _, test := range []struct {
		want []string
		args []string
	}{
		{[]string{"--name"}, []string{"registry", "create"}},
		{[]string{`"home"`, "taken"}, []string{"registry", "create", "home"}},
		{[]string{"--name", `"A b"`}, []string{"registry", "create", "A b"}},
		{[]string{"--description", "256"}, []string{"registry", "create", "other", "--description", strings.Repeat("x", 257)}},
		{[]string{"--labels", `"A"`}, []string{"registry", "create", "other", "--labels", "A=b"}},
		{[]string{"--labels", "KEY=VALUE"}, []string{"registry", "create", "other", "--labels", "x"}},
		{[]string{"unexpected argument", "more"}, []string{"registry", "create", "other", "more"}},
		{[]string{"unexpected argument", "more"}, []string{"registry", "list", "more"}},
		{[]string{"--format", "xml"}, []string{"registry", "list", "--format", "xml"}},
		{[]string{"--colour", "--help"}, []string{"registry", "get", "home", "--colour", "red"}},
		{[]string{"name a registry"}, []string{"registry", "get"}},
		{[]string{"one registry only"}, []string{"registry", "get", "home", "fixed"}},
		{[]string{`"x"`, "iotcast registry list"}, []string{"registry", "get", "x"}},
		{[]string{`"x"`}, []string{"registry", "get", "--id", "x"}},
		{[]string{"nothing to change"}, []string{"registry", "update", "home"}},
		{[]string{"--new-name", "home"}, []string{"registry", "update", "home", "--new-name", "H o"}},
		{[]string{"--labels is missing"}, []string{"registry", "add-labels", "home"}},
		{[]string{"--registry-name", "--registry-id"}, []string{"device", "create", "boiler"}},
		{[]string{"--registry-name", "--registry-id"}, []string{"device", "list", "--registry-name", "home", "--registry-id", "home"}},
		{[]string{`"x"`}, []string{"device", "create", "boiler", "--registry-name", "x"}},
		{[]string{"alias=topic"}, []string{"device", "create", "boiler", "--registry-name", "home", "--topic-aliases", "x"}},
		{[]string{"alias"}, []string{"device", "create", "boiler", "--registry-name", "home", "--topic-aliases", "x/=nowhere"}},
	} {
		d.mustFail(test.want, test.args...)
		if _, stderr, _ := d.command("", test.args...); strings.Count(stderr, "\n") != 1 || strings.Contains(stderr, "rpc error") {
			t.Errorf("iotcast %s: not one plain line:\n%s", strings.Join(test.args, " "), stderr)
		}
	}
	if after := d.do("registry", "list", "--format", "json"); after != before {
		t.Errorf("after errors:\n%s", after)
	}
}

// Who calls from another host needs TLS and a token, and is told what is missing.
func TestCommandConnection(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
	dir := t.TempDir()
	cert, key, secret := filepath.Join(dir, "api.pem"), filepath.Join(dir, "api-key.pem"), filepath.Join(dir, "token")
	authority.issue("api", cert, key)
	d := &desk{iotcast: newIotcast(t), api: freeAddress(t)}
	d.root = writeFile(t, root(d.gateway, d.http)+fmt.Sprintf(`
management_api:
  address: %q
  tls: { cert_file: %q, key_file: %q }
  tokens: { secret: %q, audiences: [ iotcast ] }
  access_bindings:
    - { service_account_id: boss, roles: [ admin ] }
    - { service_account_id: guest, roles: [ viewer ] }
`, d.api, cert, key, tokenSecret))
	d.start()
	token := func(account string) string { return strings.TrimPrefix(bearer(account), "Bearer ") }
	if err := os.WriteFile(secret, []byte(token("guest")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	place := []string{"IOTCAST_ENDPOINT=https://" + d.api, "IOTCAST_CA_FILE=" + authority.file()}
	as := func(env ...string) { d.env = append(slices.Clone(place), env...) }

	as("IOTCAST_TOKEN=" + token("boss"))
	d.do("registry", "create", "home")
	d.mustFail([]string{"IOTCAST_TOKEN", "--token-file", "not both"}, "registry", "list", "--token-file", secret)
	as("IOTCAST_TOKEN_FILE=" + secret)
	d.do("registry", "get", "home")
	d.mustFail([]string{"guest", "editor", "management_api.access_bindings"}, "registry", "create", "other")
	as()
	d.mustFail([]string{"IOTCAST_TOKEN", "--token-file"}, "registry", "list")
	d.mustFail([]string{"without Bearer"}, "registry", "list", "--token", bearer("boss"))
	d.mustFail([]string{"no-such-file", "--token-file"}, "registry", "list", "--token-file", "no-such-file")
	d.mustFail([]string{"no-such-file", "--ca-file"}, "registry", "list", "--ca-file", "no-such-file")
	d.mustFail([]string{"--ca-file", d.root}, "registry", "list", "--ca-file", d.root)
	d.mustFail([]string{"https://" + d.api}, "registry", "list", "--endpoint", "http://"+d.api)
	d.env = place[:1]
	d.mustFail([]string{"--ca-file", "unknown authority"}, "registry", "list", "--token", token("boss"))

	nobody := freeAddress(t)
	d.mustFail([]string{nobody, "management_api: {}", "--endpoint", "IOTCAST_ENDPOINT"}, "registry", "list", "--endpoint", nobody)
	d.mustFail([]string{d.http, "--endpoint"}, "registry", "list", "--endpoint", d.http)
	d.mustFail([]string{"ftp://x", "https://"}, "registry", "list", "--endpoint", "ftp://x")
	// 192.0.2.1 is nobody's (RFC 5737), and nothing is sent there.
	d.mustFail([]string{"http://192.0.2.1", "read the token", "https://", "--insecure"},
		"registry", "list", "--endpoint", "http://192.0.2.1", "--token", "x")
	plain := newHome(t)
	plain.mustFail([]string{"no TLS", "http://" + plain.api}, "registry", "list", "--endpoint", "https://"+plain.api)
	if strings.Contains(d.out.String(), token("boss")) {
		t.Error("the log holds a token")
	}
}
