package mqttbroker

import (
	"reflect"
	"strings"
	"testing"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	"go.uber.org/goleak"

	"github.com/iotcast/iotcast/internal/devbroker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFromConfig(t *testing.T) {
	spec := service.NewConfigSpec().Field(Field())
	tcp := func(address string, users map[string]string) devbroker.Config {
		return devbroker.Config{
			Address: address, Users: users, Limits: devbroker.Limits{LoginFailures: defaultLoginFailures},
			WebSocket: devbroker.WebSocket{Path: defaultPath, AllowedOrigins: []string{}},
		}
	}
	none := map[string]string{}
	for _, c := range []struct {
		name, yaml string
		want       devbroker.Config
		ok         bool
		err        string
	}{
		{name: "absent", yaml: ``},
		{name: "others", yaml: `other: 1`},
		{name: "defaults", yaml: `mqtt_broker: {}`, want: tcp(defaultAddress, none), ok: true},
		{name: "turned off", yaml: `mqtt_broker: { address: "", users: [] }`},
		{name: "address", yaml: `mqtt_broker: { address: ":1884" }`, want: tcp(":1884", none), ok: true},
		{
			name: "users", yaml: `mqtt_broker: { users: [ { user: a, password: b }, { user: c, password: d } ] }`,
			want: tcp(defaultAddress, map[string]string{"a": "b", "c": "d"}), ok: true,
		},
		{
			name: "all", yaml: `
mqtt_broker:
  address: ""
  tls: { address: ":8883", cert_file: c.pem, key_file: k.pem }
  websocket: { address: ":8083", path: /ws, tls: true, allowed_origins: [ "*" ] }
  storage_file: b.db
  limits:
    max_connections: 1
    max_connections_per_ip: 2
    max_sessions: 3
    max_retained_bytes: 4
    max_session_bytes: 5
    message_rate: 6
    login_failures: 0
    login_failures_per_ip: 8`,
			want: devbroker.Config{
				TLS:       devbroker.TLS{Address: ":8883", CertFile: "c.pem", KeyFile: "k.pem"},
				WebSocket: devbroker.WebSocket{Address: ":8083", Path: "/ws", TLS: true, AllowedOrigins: []string{"*"}},
				Users:     none, File: "b.db",
				Limits: devbroker.Limits{
					Connections: 1, ConnectionsPerIP: 2, Sessions: 3, RetainedBytes: 4, SessionBytes: 5, MessageRate: 6,
					LoginFailuresPerIP: 8,
				},
			}, ok: true,
		},
		{name: "bad path", yaml: `mqtt_broker: { websocket: { path: mqtt } }`, err: "path must begin with /"},
		{name: "below zero", yaml: `mqtt_broker: { limits: { message_rate: -1 } }`, err: "message_rate must not be negative"},
		{name: "twice", yaml: `mqtt_broker: { users: [ { user: a, password: b }, { user: a, password: c } ] }`, err: `user "a" appears twice`},
		{name: "no password", yaml: `mqtt_broker: { users: [ { user: a, password: "" } ] }`, err: `user "a"`},
		{name: "no user", yaml: `mqtt_broker: { users: [ { user: "", password: b } ] }`, err: `may be empty`},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, err := spec.ParseYAML(c.yaml, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, ok, err := FromConfig(root)
			if ok != c.ok || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v", got, ok)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

// A schema without the field means no broker, not an error.
func TestFromConfigWithoutField(t *testing.T) {
	root, err := service.NewConfigSpec().Field(service.NewStringField("other").Default("")).ParseYAML(``, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := FromConfig(root); ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
}

func TestLint(t *testing.T) {
	linter := schema().NewStreamConfigLinter()
	for yaml, want := range map[string]string{
		`input: { stdin: {} }`:                                                            "",
		`mqtt_broker: {}`:                                                                 "",
		`mqtt_broker: { address: "", users: [] }`:                                         "",
		`mqtt_broker: { address: ":1883" }`:                                               "",
		`mqtt_broker: { address: "localhost:1883" }`:                                      "",
		`mqtt_broker: { address: "[::1]:1883" }`:                                          "",
		`mqtt_broker: { address: "[fe80::1%eth0]:1883"}`:                                  "",
		`mqtt_broker: { address: "localhost" }`:                                           "address must be host:port",
		`mqtt_broker: { address: "1883" }`:                                                "address must be host:port",
		`mqtt_broker: { address: "tcp://localhost:1" }`:                                   "address must be host:port",
		`mqtt_broker: { address: "::1:1883" }`:                                            "address must be host:port",
		`mqtt_broker: { adress: ":1883" }`:                                                "field adress not recognised",
		`mqtt_broker: { users: [ { user: a } ] }`:                                         "field password is required",
		`mqtt_broker: { users: [ { user: a, password: b }, { user: a, password: c } ] }`:  "each user may appear once",
		`mqtt_broker: { users: [ { user: a, password: b }, { user: c, password: b } ] }`:  "",
		`mqtt_broker: { tls: { address: ":8883" } }`:                                      "tls needs cert_file and key_file",
		`mqtt_broker: { tls: { cert_file: a.pem } }`:                                      "tls needs both",
		`mqtt_broker: { websocket: { address: ":8083", tls: true } }`:                     "tls needs cert_file and key_file",
		`mqtt_broker: { websocket: { path: mqtt } }`:                                      "path must begin with /",
		`mqtt_broker: { websocket: { allowed_origins: [ "a.test", "https://a.test" ] } }`: "",
		`mqtt_broker: { websocket: { allowed_origins: [ "https://a.test/" ] } }`:          "no page can come from",
		`mqtt_broker: { tls: { address: ":8883", cert_file: a.pem, key_file: b.pem }, websocket: { address: ":8083", tls: true } }`: "",
		`mqtt_broker: { limits: { max_sessions: 10, login_failures: 0 } }`:                                                          "",
		`mqtt_broker: { limits: { max_sessions: -1 } }`:                                                                             "max_sessions must not be negative",
		`mqtt_broker: { limits: { max_session: 1 } }`:                                                                               "field max_session not recognised",
		`mqtt_broker: true`: "expected object",
	} {
		lints, err := linter.LintYAML([]byte(yaml))
		if err != nil {
			t.Fatalf("%s: %v", yaml, err)
		}
		switch {
		case want == "" && len(lints) > 0:
			t.Errorf("%s: %v", yaml, lints)
		case want != "" && (len(lints) == 0 || !strings.Contains(lints[0].What, want)):
			t.Errorf("%s: %v, want %q", yaml, lints, want)
		}
	}
}

// `create` prints the defaults of every field: run as it is, that is a config without a broker.
func TestCreate(t *testing.T) {
	s := schema()
	yaml, err := s.NewStreamConfigMarshaller().SetHydrateExamples(true).AnyToYAML(map[string]any{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(yaml, "mqtt_broker:") {
		t.Errorf("the field is not in %s", yaml)
	}
	lints, err := s.NewStreamConfigLinter().LintYAML([]byte(yaml))
	if err != nil || len(lints) > 0 {
		t.Errorf("%v %v", lints, err)
	}
	root, err := service.NewConfigSpec().Field(Field()).ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := FromConfig(root); ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
}

// What is printed of a config does not hold a password.
func TestSecret(t *testing.T) {
	yaml, err := schema().NewStreamConfigMarshaller().SetScrubSecrets(true).AnyToYAML(map[string]any{
		"mqtt_broker": map[string]any{"users": []any{map[string]any{"user": "a", "password": "hunter22"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(yaml, "hunter22") || !strings.Contains(yaml, "user: a") {
		t.Errorf("got %s", yaml)
	}
}

func schema() *service.ConfigSchema {
	return service.GlobalEnvironment().FullConfigSchema("", "").Field(Field())
}
