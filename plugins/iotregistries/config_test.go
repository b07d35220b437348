package iotregistries

import (
	"strings"
	"testing"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/registry"
)

const good = `
iot_registries:
  - id: r
    password_hashes: [ $2a$04$EuxNHLzXxTw1SSIjSOspcuLNEoDiJ3HedcSLP9H3Sk/5J.NfQOjeC ]
    devices:
      - id: d1
        aliases: { kitchen/: $devices/d1/ }
      - id: d2
        certificate_fingerprints: [ "EB:D0:E7:2A:25:DB:D5:8F:B9:4E:D3:5A:AE:38:EF:76:AB:15:CE:5D:0C:3A:D0:FB:E1:C4:FF:1D:9E:95:D6:AB" ]
iot_brokers:
  - id: b
`

func parse(t *testing.T, yaml string) (*registry.Directory, error) {
	t.Helper()
	root, err := service.NewConfigSpec().Fields(Fields()...).ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := FromConfig(root)
	if err != nil {
		return nil, err
	}
	return Directory(cfg)
}

func TestFromConfig(t *testing.T) {
	d, err := parse(t, good)
	if err != nil {
		t.Fatal(err)
	}
	if p, _, err := d.Authenticate(registry.Login{User: "r", Password: []byte("Correct-Horse-1")}); err != nil || p.ID != "r" {
		t.Errorf("%v, %v", p, err)
	}
	if topic := d.Resolve("r", "kitchen/events"); topic != "$devices/d1/events" {
		t.Errorf("the alias resolves to %q", topic)
	}
	if p, ok := d.Principal("b"); !ok || p.Role != registry.BrokerRole {
		t.Errorf("the broker is %v", p)
	}
	for _, none := range []string{``, `iot_registries: []`, `iot_brokers: []`} {
		if d, err := parse(t, none); d != nil || err != nil {
			t.Errorf("%q: %v, %v", none, d, err)
		}
	}
}

// Lint and start find the same, and lint tells the line.
func TestProblems(t *testing.T) {
	linter := service.GlobalEnvironment().FullConfigSchema("", "").Fields(Fields()...).NewStreamConfigLinter()
	lint := func(yaml string) string {
		lints, err := linter.LintYAML([]byte(yaml))
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, l := range lints {
			text = append(text, l.What)
		}
		return strings.Join(text, "; ")
	}
	if got := lint(good); got != "" {
		t.Errorf("lint of the good config: %s", got)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"id: d2", "id: d1", `device "d1" is there twice`},
		{"id: d2", "id: d2\n        aliases: { kitchen/oven: $devices/d2 }", `alias "kitchen/oven" of device "d2" begins with alias "kitchen/" of device "d1"`},
		{"$devices/d1/", "$devices/d2/", `alias "kitchen/"`},
		{"[ $2a$04$EuxNHLzXxTw1SSIjSOspcuLNEoDiJ3HedcSLP9H3Sk/5J.NfQOjeC ]", "[ secret ]", "password_hashes[0] is not a bcrypt hash"},
		{"id: b", "id: ''", "the ID of a broker is empty"},
	} {
		yaml := strings.Replace(good, tt.old, tt.new, 1)
		if _, err := parse(t, yaml); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: start says %v, want %q", tt.new, err, tt.want)
		}
		if got := lint(yaml); !strings.Contains(got, tt.want) {
			t.Errorf("%s: lint says %q, want %q", tt.new, got, tt.want)
		}
	}
	// Across the two lists.
	if _, err := parse(t, strings.Replace(good, "id: b", "id: d1", 1)); err == nil || !strings.Contains(err.Error(), `broker "d1" has the same ID as device "d1"`) {
		t.Errorf("got %v", err)
	}
}
