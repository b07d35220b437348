package control

import (
	"strconv"
	"strings"
	"testing"

	brokers "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/broker/v1"
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"google.golang.org/grpc/codes"

	"github.com/iotcast/iotcast/internal/access"
)

func filled(t *testing.T, d *desk) {
	t.Helper()
	ctx := t.Context()
	d.registry("home")
	if _, err := d.devices.Create(ctx, &devices.CreateDeviceRequest{
		RegistryId: "home", Name: "boiler", Password: goodPassword, Description: "yes: \"quoted\"\n# and more", Labels: map[string]string{"a": "true"},
		TopicAliases: map[string]string{"cellar/": "$devices/{id}/"},
		Certificates: []*devices.CreateDeviceRequest_Certificate{{CertificateData: selfSigned(t, "boiler")}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.brokers.Create(ctx, &brokers.CreateBrokerRequest{Name: "factory", Password: goodPassword}); err != nil {
		t.Fatal(err)
	}
}

func TestExportAndImport(t *testing.T) {
	d := newDesk(t)
	filled(t, d)
	code, text := d.rest(t, "GET", "/state", "")
	if code != 200 || strings.Contains(text, goodPassword) {
		t.Fatalf("%d %s", code, text)
	}
	other := newDesk(t)
	other.registry("old")
	other.device("old", "gone")
	if code, answer := other.rest(t, "PUT", "/state", text, "Content-Type", "application/yaml"); code != 200 {
		t.Fatalf("%d %s\n%s", code, answer, text)
	}
	if _, again := other.rest(t, "GET", "/state", ""); again != text {
		t.Errorf("the export of the import is another:\n%s\n%s", text, again)
	}
	if !other.logsIn("boiler", goodPassword) || !other.logsIn("factory", goodPassword) {
		t.Error("who was imported cannot log in")
	}
	_, err := other.devices.Get(t.Context(), &devices.GetDeviceRequest{DeviceId: "gone"})
	wants(t, err, codes.NotFound)
	got, err := other.devices.GetByName(t.Context(), &devices.GetByNameDeviceRequest{RegistryId: "home", DeviceName: "boiler"})
	if err != nil || !strings.Contains(got.Description, "# and more") {
		t.Errorf("%v %v", got, err)
	}
	other.restart()
	if _, again := other.rest(t, "GET", "/state", ""); again != text {
		t.Errorf("after a restart it is\n%s", again)
	}
}

// Two devices exchange their names, aliases and certificates in one import.
func TestImportOfAnExchange(t *testing.T) {
	d := newDesk(t)
	d.registry("home")
	one, two := selfSigned(t, "one"), selfSigned(t, "two")
	create := func(name, alias, certificate string) {
		t.Helper()
		_, err := d.devices.Create(t.Context(), &devices.CreateDeviceRequest{
			RegistryId: "home", Name: name, TopicAliases: map[string]string{alias: "$devices/{id}/"},
			Certificates: []*devices.CreateDeviceRequest_Certificate{{CertificateData: certificate}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	create("one", "first/", one)
	create("two", "second/", two)
	_, text := d.rest(t, "GET", "/state", "")
	marks := []string{"name: one", "name: two", "first/: $devices/one/", "second/: $devices/two/"}
	swapped := strings.NewReplacer(marks[0], marks[1], marks[1], marks[0], marks[2], "second/: $devices/one/", marks[3], "first/: $devices/two/").Replace(text)
	_, first, _ := strings.Cut(swapped, "certificates:")
	first, rest, _ := strings.Cut(first, "  - id:")
	_, second, _ := strings.Cut(rest, "certificates:")
	second, _, _ = strings.Cut(second, "brokers:")
	swapped = strings.NewReplacer(first, second, second, first).Replace(swapped)
	if code, answer := d.rest(t, "PUT", "/state", swapped, "Content-Type", "application/yaml"); code != 200 {
		t.Fatalf("%d %s\n%s", code, answer, swapped)
	}
	if topic := d.cfg.Directory.Resolve("home", "first/events"); topic != "$devices/two/events" {
		t.Errorf("the alias stands for %q", topic)
	}
	got, err := d.devices.GetByName(t.Context(), &devices.GetByNameDeviceRequest{RegistryId: "home", DeviceName: "one"})
	if err != nil || got.Id != "two" {
		t.Errorf("one is %v (%v)", got, err)
	}
	d.restart()
	if _, again := d.rest(t, "GET", "/state", ""); again != swapped {
		t.Errorf("after a restart it is\n%s\nand was\n%s", again, swapped)
	}
}

func TestImportsThatCannotBe(t *testing.T) {
	d := newDesk(t)
	filled(t, d)
	_, before := d.rest(t, "GET", "/state", "")
	whole := func(text string) string { // with what else a document has
		for _, kind := range []string{"registries", "devices", "brokers", "triggers"} {
			if !strings.Contains(text, kind+":") {
				text += "\n" + kind + ": []"
			}
		}
		return text
	}
	for name, text := range map[string]string{
		"nothing": "", "an empty object": "{}", "one of four": "registries: []",
		"two documents":      whole("registries: []") + "\n---\n" + whole("registries: []"),
		"a long name":        whole("registries: [ { id: a, name: " + strings.Repeat("a", 51) + " } ]"),
		"a status":           whole("registries: [ { id: a, name: a, status: BROKEN } ]"),
		"an ID twice":        whole("registries: [ { id: a, name: a }, { id: a, name: b } ]"),
		"another's print":    whole("registries: [ { id: a, name: a, certificates: [ { fingerprint: '" + strings.Repeat("ab", 32) + "', data: " + strconv.Quote(selfSigned(t, "x")) + " } ] } ]"),
		"no YAML":            "a: [",
		"a text":             "hello",
		"another kind":       "functions: []",
		"another field":      whole("registries: [ { id: a, name: a, color: red } ]"),
		"no name":            whole("registries: [ { id: a } ]"),
		"no such registry":   whole("devices: [ { id: a, name: a, registry_id: nowhere } ]"),
		"the same ID":        whole("registries: [ { id: a, name: a } ]\nbrokers: [ { id: a, name: a } ]"),
		"the same name":      whole("registries: [ { id: a, name: a }, { id: b, name: a } ]"),
		"no hash":            whole("registries: [ { id: a, name: a, passwords: [ { id: x, hash: secret } ] } ]"),
		"overlapping alias":  whole("registries: [ { id: r, name: r } ]\ndevices: [ { id: a, name: a, registry_id: r, topic_aliases: { x/: $devices/a/ } }, { id: b, name: b, registry_id: r, topic_aliases: { x/y/: $devices/b/ } } ]"),
		"a number as a name": whole("registries: [ { id: a, name: 7 } ]"),
	} {
		if code, answer := d.rest(t, "PUT", "/state", text, "Content-Type", "application/yaml"); code != 400 {
			t.Errorf("%s: %d %s", name, code, answer)
		}
		if _, after := d.rest(t, "GET", "/state", ""); after != before {
			t.Fatalf("%s: the state has changed:\n%s", name, after)
		}
	}
}

func TestStateIsForAdministrators(t *testing.T) {
	d := newDesk(t, withTokens(t, access.Grant{Account: "editor", Role: "editor"}, access.Grant{Account: "admin", Role: "admin"}))
	for account, want := range map[string]int{"editor": 403, "admin": 200} {
		authorization := "Bearer " + sign(t, account, later())
		if code, text := d.rest(t, "GET", "/state", "", "Authorization", authorization); code != want {
			t.Errorf("%s: %d %s", account, code, text)
		}
		if code, text := d.rest(t, "PUT", "/state", "registries: []\ndevices: []\nbrokers: []\ntriggers: []", "Content-Type", "application/yaml", "Authorization", authorization); code != want {
			t.Errorf("%s: %d %s", account, code, text)
		}
	}
	if code, _ := d.rest(t, "GET", "/state", ""); code != 401 {
		t.Errorf("without a token: %d", code)
	}
	if !strings.Contains(d.log.String(), "method=StateService/Export service_account_id=editor code=PermissionDenied") {
		t.Errorf("the log says nothing:\n%s", d.log)
	}
}
