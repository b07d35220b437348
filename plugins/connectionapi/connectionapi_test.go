package connectionapi_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	"go.uber.org/goleak"

	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/readiness"
	"github.com/iotcast/iotcast/internal/reserve"
	"github.com/iotcast/iotcast/plugins/connectionapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "a secret of thirty-two bytes....."

// TestLint: mistakes are found before anything starts. An empty want is for what
// is right.
func TestLint(t *testing.T) {
	linter := service.GlobalEnvironment().FullConfigSchema("", "").Fields(connectionapi.Field()).NewStreamConfigLinter()
	for yaml, want := range map[string]string{
		`logger: {}`:                                                                          "",
		`connection_api: {}`:                                                                  "",
		`connection_api: { address: "" }`:                                                     "",
		`connection_api: { address: "127.0.0.1:8081" }`:                                       "",
		`connection_api: { address: "localhost:8081" }`:                                       "",
		`connection_api: { address: "[::1]:8081" }`:                                           "",
		`connection_api: { address: "0.0.0.0:8081" }`:                                         "set tokens",
		`connection_api: { address: ":8081" }`:                                                "set tokens",
		`connection_api: { address: "127.0.0.1.x:8081" }`:                                     "set tokens",
		`connection_api: { address: ":8081", tokens: { secret: "` + secret + `" } }`:          "",
		`connection_api: { address: ":8081", tokens: { public_key_files: [ a ] } }`:           "",
		`connection_api: { address: ":8081", tokens: { jwks_url: "https://example.com/k" } }`: "",
		`connection_api: { address: ":8081", tokens: { audiences: [ a ] } }`:                  "need a key",
		`connection_api: { address: ":8081", tokens: { secret: short } }`:                     "32 bytes",
		`connection_api: { address: "localhost" }`:                                            "no port",
		`connection_api: { adress: "localhost:1" }`:                                           "adress not recognised",
		`connection_api: { address: "localhost:1", tls: { cert_file: a } }`:                   "belong together",
		`connection_api: { address: "localhost:1", max_message_bytes: 0 }`:                    "at least 1",
	} {
		lints, err := linter.LintYAML([]byte(yaml))
		if err != nil {
			t.Errorf("%s: %v", yaml, err)
			continue
		}
		var all []string
		for _, l := range lints {
			if l.Type != service.LintMissing {
				all = append(all, l.What)
			}
		}
		if got := strings.Join(all, "\n"); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", yaml, got, want)
		}
	}
}

// parse is a root config in a process with gateways, though none has a route.
func parse(t *testing.T, yaml string) *service.ParsedConfig {
	t.Helper()
	root, err := service.NewConfigSpec().Field(connectionapi.Field()).ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	root.Resources().SetGeneric(gateway.Key, gateway.NewSet())
	return root
}

// TestStart: it listens until it is stopped, or not at all.
func TestStart(t *testing.T) {
	address, err := reserve.Address()
	if err != nil {
		t.Fatal(err)
	}
	api, err := connectionapi.Start(parse(t, `connection_api: { address: "`+address+`", tokens: { secret: "`+secret+`" } }`), new(readiness.Checks), false)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + address + "/apigateways/websocket/v1/connections")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Error(res.Status)
	}
	api.Close(t.Context())
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("it listens after its end")
	}
	for _, yaml := range []string{``, `connection_api: {}`, `connection_api: { address: "" }`} {
		api, err := connectionapi.Start(parse(t, yaml), new(readiness.Checks), false)
		if err != nil {
			t.Errorf("%q: %v", yaml, err)
			continue
		}
		api.Close(t.Context())
	}
	if api, err := connectionapi.Start(withoutField(t), new(readiness.Checks), false); err != nil {
		t.Error(err)
	} else {
		api.Close(t.Context())
	}
}

// TestManaged: the management API has the same connections, those of other nodes among them, whether connection_api listens
// or not.
func TestManaged(t *testing.T) {
	const other = `{"status":200,"connections":[{"id":"b-1","gateway":"main","path":"/a","source_ip":"","user_agent":"","connected_at":"2026-01-02T03:04:05Z","last_active_at":"2026-01-02T03:04:05Z"}]}`
	ready := new(readiness.Checks)
	api, err := connectionapi.Start(parse(t, `
connection_api:
  max_message_bytes: 7
  forward: [ { mapping: 'root = "`+strings.ReplaceAll(other, `"`, `\"`)+`"' } ]
  nodes: [ b ]
`), ready, true)
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close(t.Context())
	found, unreachable, err := api.Directory.List(t.Context(), connections.Query{Gateways: []string{"main"}, Limit: 10})
	if err != nil || len(unreachable) != 0 || len(found) != 1 || found[0].ID != "b-1" || api.MaxMessageBytes != 7 {
		t.Errorf("%v without %v (%v), of %d bytes", found, unreachable, err, api.MaxMessageBytes)
	}
	bare, err := connectionapi.Start(withoutField(t), ready, true)
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close(t.Context())
	found, _, err = bare.Directory.List(t.Context(), connections.Query{Limit: 10})
	if err != nil || len(found) != 0 || bare.MaxMessageBytes != 128<<10 {
		t.Errorf("%v (%v), of %d bytes", found, err, bare.MaxMessageBytes)
	}
}

func withoutField(t *testing.T) *service.ParsedConfig {
	t.Helper()
	root, err := service.NewConfigSpec().Field(service.NewStringField("other").Default("")).ParseYAML(``, nil)
	if err != nil {
		t.Fatal(err)
	}
	root.Resources().SetGeneric(gateway.Key, gateway.NewSet())
	return root
}

// TestForwardIsLinted: a processor that is written wrongly is found before anything
// starts.
func TestForwardIsLinted(t *testing.T) {
	linter := service.GlobalEnvironment().FullConfigSchema("", "").Fields(connectionapi.Field()).NewStreamConfigLinter()
	lints, err := linter.LintYAML([]byte(`connection_api: { address: "127.0.0.1:1", forward: [ { maping: root = this } ] }`))
	if err != nil || len(lints) == 0 || !strings.Contains(lints[0].What, "maping") {
		t.Error(lints, err)
	}
}

// TestErrors name the field.
func TestErrors(t *testing.T) {
	for yaml, want := range map[string]string{
		`{ address: "0.0.0.0:0" }`:                                                    "connection_api: address 0.0.0.0:0 can be reached from other machines",
		`{ address: "nowhere" }`:                                                      "connection_api: address",
		`{ address: "127.0.0.1:0", max_message_bytes: 0 }`:                            "connection_api: max_message_bytes",
		`{ address: "127.0.0.1:0", tokens: { secret: short } }`:                       "connection_api: tokens: secret",
		`{ address: "127.0.0.1:0", tokens: { public_key_files: [ /absent ] } }`:       "connection_api: tokens: public_key_files",
		`{ address: "127.0.0.1:0", tls: { cert_file: /absent, key_file: /absent } }`:  "connection_api: tls: cert_file",
		`{ address: "192.0.2.1:1", tokens: { secret: "` + secret + `" } }`:            "connection_api: address: binding to address 192.0.2.1:1",
		`{ address: "192.0.2.1:1", tokens: { jwks_url: "http://127.0.0.1:1/keys" } }`: "connection_api: address: binding to address 192.0.2.1:1",
	} {
		_, err := connectionapi.Start(parse(t, "connection_api: "+yaml), new(readiness.Checks), false)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", yaml, err, want)
		}
	}
}
