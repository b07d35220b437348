package websocketgateways

import (
	"log/slog"
	"strings"
	"testing"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/access"
)

const secret = "a secret of thirty-two bytes....."

func fields() []*service.ConfigField {
	return append(gatewaySettings(), tokensField(), bindingsField(), tlsField())
}

// lints are what the linter says of a root config with the fields.
func lints(t *testing.T, yaml string) string {
	t.Helper()
	found, err := service.GlobalEnvironment().FullConfigSchema("", "").Fields(fields()...).NewStreamConfigLinter().LintYAML([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range found {
		all = append(all, l.What)
	}
	return strings.Join(all, "\n")
}

// TestLint: mistakes are found before anything starts. An empty want is for what
// is right.
func TestLint(t *testing.T) {
	for yaml, want := range map[string]string{
		"{}":         "",
		"tokens: {}": "",
		"tokens: { secret: " + secret + ", audiences: [ a ], query_parameter: access_token, subprotocol_prefix: 'bearer.', required_claims: { a: '' } }": "",
		"tokens: { jwks_url: 'https://id.example.com/keys', jwks_refresh: 1h, leeway: 0s }":                                                              "",
		"tokens: { secret: short }":                                     "at least 32 bytes",
		"tokens: { issuer: a }":                                         "need a key",
		"tokens: { jwks_url: id.example.com }":                          "http or https",
		"tokens: { secret: " + secret + ", subprotocol_prefix: 'a b' }": "subprotocol_prefix",
		"access_bindings: []":                                           "",
		"access_bindings: [ { service_account_id: a, roles: [ api-gateway.viewer ] } ]":         "",
		"access_bindings: [ { service_account_id: a, roles: [] } ]":                             "at least one role",
		"access_bindings: [ { service_account_id: '', roles: [ api-gateway.viewer ] } ]":        "must not be empty",
		"access_bindings: [ { service_account_id: a, roles: [ api-gateway.viewer, writer ] } ]": "api-gateway.websocketWriter",
		"access_bindings: [ { service_account_id: a } ]":                                        "roles",
		"allowed_origins: [ '*', a.test, 'https://*.a.test', 'http://[::1]:*', 'null', '' ]":    "",
		"allowed_origins: [ 'https://a.test/' ]":                                                "no page can come from",
		"allowed_origins: [ 'a.test,b.test' ]":                                                  "in an entry of its own",
		"tls: {}":                                                                               "",
		"tls: { cert_file: a, key_file: b }":                                                    "",
		"tls: { cert_file: a }":                                                                 "belong together",
		"tls: { cert_file: a, key_file: b, client_auth: require }":                              "client_ca_files",
		"tls: { cert_file: a, key_file: b, client_auth: require, client_ca_files: [ c ] }":      "",
		"tls: { cert_file: a, key_file: b, client_ca_files: [ c ] }":                            "request or require",
		"tls: { cert_file: a, key_file: b, min_version: '1.3' }":                                "",
		"tls: { client_auth: require, client_ca_files: [ c ] }":                                 "need cert_file",
		"tls: { cert_file: a, key_file: b, min_version: '1.1' }":                                "1.1",
	} {
		if got := lints(t, yaml); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s:\n%q, want %q", yaml, got, want)
		}
	}
}

func config(t *testing.T, yaml string) *service.ParsedConfig {
	t.Helper()
	conf, err := service.NewConfigSpec().Fields(fields()...).ParseYAML(yaml, nil)
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// TestParse: what is read, and that nothing means nothing.
func TestParse(t *testing.T) {
	none := config(t, "{}")
	if tokens, err := parseTokens(none); tokens != nil || err != nil {
		t.Error(tokens, err)
	}
	if bindings, err := parseBindings(none); bindings.Len() != 0 || err != nil {
		t.Error(bindings, err)
	}
	if tls, err := parseTLS(none, slog.Default()); tls != nil || err != nil {
		t.Error(tls, err)
	}
	all := config(t, `
tokens: { secret: "`+secret+`", query_parameter: q, subprotocol_prefix: p., routes_claim: r, optional: true }
access_bindings: [ { service_account_id: a, roles: [ api-gateway.viewer, api-gateway.websocketWriter ] } ]
tls: { cert_file: /absent/cert, key_file: /absent/key }
`)
	tokens, err := parseTokens(all)
	if err != nil || tokens.Verifier == nil || tokens.QueryParameter != "q" || tokens.SubprotocolPrefix != "p." || tokens.RoutesClaim != "r" || !tokens.Optional {
		t.Error(tokens, err)
	}
	bindings, err := parseBindings(all)
	if err != nil || !bindings.Allows("a", access.Writer) || bindings.Allows("a", access.Broadcaster) {
		t.Error(bindings, err)
	}
	if _, err := parseTLS(all, slog.Default()); err == nil || !strings.Contains(err.Error(), "tls: cert_file") {
		t.Error(err)
	}
	for yaml, want := range map[string]string{
		"tokens: { secret: short }":                                          "tokens: secret",
		"tokens: { audiences: [ a ] }":                                       "need a key",
		"access_bindings: [ { service_account_id: a, roles: [] } ]":          `access_bindings[0] "a"`,
		"access_bindings: [ { service_account_id: a, roles: [ x ] } ]":       "api-gateway.auditor",
		"access_bindings: [ { service_account_id: '', roles: [ viewer ] } ]": "access_bindings[0]",
		"tls: { cert_file: a }":                                              "tls: cert_file",
		"tls: { min_version: '1' }":                                          "min_version",
	} {
		conf := config(t, yaml)
		_, tokensErr := parseTokens(conf)
		_, bindingsErr := parseBindings(conf)
		_, tlsErr := parseTLS(conf, slog.Default())
		for _, err := range []error{tokensErr, bindingsErr, tlsErr} {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", yaml, err, want)
			}
		}
		if tokensErr == nil && bindingsErr == nil && tlsErr == nil {
			t.Errorf("%s is accepted", yaml)
		}
	}
}

// TestTrustedProxies: an address or a network, in any of its forms.
func TestTrustedProxies(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1": "127.0.0.1/32", "10.0.0.0/8": "10.0.0.0/8", "::1": "::1/128", "2001:db8::/32": "2001:db8::/32",
		"::ffff:10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.0/104": "10.0.0.0/8", "::/0": "::/0",
		"localhost": "", "10.0.0.1:80": "", "": "", "10.0.0.0/33": "",
	} {
		got, err := parseNetwork(in)
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: %v %v, want %q", in, got, err, want)
		}
	}
}
