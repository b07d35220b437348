package tests

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"
	"github.com/redpanda-data/benthos/v4/public/service"

	_ "github.com/iotcast/iotcast/plugins/iotmqtt"
)

// TestNATSLogins: envelope_log and leases come in by each way that NATS has to log in, and
// are refused without.
func TestNATSLogins(t *testing.T) {
	t.Parallel()
	ca, dir := newAuthority(t), t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.issue("nats", cert, key)
	mine, myKey := filepath.Join(dir, "mine.pem"), filepath.Join(dir, "mine-key.pem")
	ca.issue("gateway", mine, myKey)
	user, account := newNKey(t, nkeys.CreateUser), newNKey(t, nkeys.CreateAccount)
	operator, system := newNKey(t, nkeys.CreateOperator), newNKey(t, nkeys.CreateAccount)
	token := account.jwt(t, user, map[string]any{"type": "user", "subs": -1, "data": -1, "payload": -1})
	credentials := fmt.Sprintf("-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n", token, user.seed)
	limits := map[string]any{"subs": -1, "data": -1, "payload": -1, "conn": -1}
	ofSystem := operator.jwt(t, system, map[string]any{"type": "account", "limits": maps.Clone(limits)})
	limits["mem_storage"], limits["disk_storage"], limits["streams"], limits["consumer"] = -1, -1, -1, -1
	operated := fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\n",
		operator.jwt(t, operator, map[string]any{"type": "operator"}), system.public,
		system.public, ofSystem, account.public, operator.jwt(t, account, map[string]any{"type": "account", "limits": limits}))
	keyed := "authorization { users: [ { nkey: " + user.public + " } ] }\n"
	overTLS := fmt.Sprintf("tls { cert_file: %q, key_file: %q }\n", cert, key)
	mapped := fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify_and_map: true }\nauthorization { users: [ { user: \"CN=gateway\" } ] }\n", cert, key, ca.file())
	for name, way := range map[string]struct{ server, scheme, fields string }{
		"user and password":  {"authorization { user: me, password: secret }\n", "nats", "auth: { user: me, password: secret }"},
		"token":              {"authorization { token: secret }\n", "nats", "auth: { token: secret }"},
		"NKey":               {keyed, "nats", "auth: { nkey: " + user.seed + " }"},
		"NKey in a file":     {keyed, "nats", "auth: { nkey_file: " + writeFile(t, user.seed) + " }"},
		"JWT":                {operated, "nats", "auth: { user_jwt: " + token + ", user_nkey_seed: " + user.seed + " }"},
		"credentials":        {operated, "nats", "auth: { user_credentials_file: " + writeFile(t, credentials) + " }"},
		"TLS with a CA":      {overTLS, "tls", fmt.Sprintf("tls: { enabled: true, root_cas_file: %q }", ca.file())},
		"TLS by nats://":     {overTLS, "nats", fmt.Sprintf("tls: { enabled: true, root_cas_file: %q }", ca.file())},
		"client certificate": {mapped, "tls", fmt.Sprintf("tls: { enabled: true, root_cas_file: %q, client_certs: [ { cert_file: %q, key_file: %q } ] }", ca.file(), mine, myKey)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := &natsServer{t: t, dir: t.TempDir(), addr: freeAddress(t)}
			server.process = start(t, "nats-server", exec.Command(toolPath("nats-server"), "-c",
				writeFile(t, fmt.Sprintf("listen: %q\njetstream { store_dir: %q }\n%s", server.addr, server.dir, way.server))))
			eventually(t, "nats-server is ready", func() bool { return strings.Contains(server.out.String(), "Server is ready") })
			url := way.scheme + "://" + server.addr
			write := writeLog(t, url, "  "+way.fields+"\n")
			r := readLog(t, url, "  "+way.fields+"\n")
			if err := write(logMessage(0)); err != nil {
				t.Fatal(err)
			}
			r.waitFor(t, 1)

			leases := "iot_mqtt: { urls: [ %q ], registry_id: r, client_id: c, clean_session: false, leases: { parts: 2, urls: [ %q ], %s } }"
			mqtt := startMosquitto(t)
			if err := testConnection(t, fmt.Sprintf(leases, mqtt.url(), url, way.fields)); err != nil {
				t.Errorf("leases: %v", err)
			}
			without := testConnection(t, fmt.Sprintf(readerFields, url, ""))
			if without == nil {
				t.Error("it works without, too")
			}
			t.Log("without: ", without)
		})
	}
}

// testConnection is the connection test of an input.
func testConnection(t *testing.T, yaml string) error {
	t.Helper()
	conf, err := service.NewConfigSpec().Field(service.NewInputField("input")).
		ParseYAML("input:\n  "+strings.ReplaceAll(yaml, "\n", "\n  "), nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := conf.FieldInput("input")
	if err != nil {
		t.Fatal(err)
	}
	return in.ConnectionTest(t.Context())[0].Err
}

// nkey is one of a user, an account or an operator.
type nkey struct {
	nkeys.KeyPair
	public, seed string
}

func newNKey(t *testing.T, create func() (nkeys.KeyPair, error)) (k nkey) {
	t.Helper()
	var err error
	if k.KeyPair, err = create(); err != nil {
		t.Fatal(err)
	}
	seed, err := k.Seed()
	if err != nil {
		t.Fatal(err)
	}
	k.seed = string(seed)
	if k.public, err = k.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return k
}

// jwt is what nsc would write about another.
func (k nkey) jwt(t *testing.T, about nkey, claims map[string]any) string {
	t.Helper()
	claims["version"] = 2
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	text := part(map[string]any{"typ": "JWT", "alg": "ed25519-nkey"}) + "." + part(map[string]any{
		"jti": base32.StdEncoding.EncodeToString([]byte(about.public[:20])), "iat": time.Now().Unix(),
		"iss": k.public, "sub": about.public, "name": "test", "nats": claims,
	})
	signature, err := k.Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
