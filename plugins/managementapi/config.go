// Package managementapi is the top-level field management_api: the API by which registries, devices, brokers and triggers
// are changed while the process runs.
package managementapi

import (
	"errors"
	"fmt"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/plugins/internal/tlsconfig"
	"github.com/iotcast/iotcast/plugins/internal/tokenconfig"
)

const (
	fieldAPI              = "management_api"
	fieldAddress          = "address"
	fieldTLS              = "tls"
	fieldTokens           = "tokens"
	fieldAccessBindings   = "access_bindings"
	fieldServiceAccountID = "service_account_id"
	fieldRoles            = "roles"
	fieldResources        = "resources"
	fieldStateDir         = "state_dir"
	fieldTriggerTemplate  = "trigger_template"
	fieldConsole          = "console"

	defaultAddress = "127.0.0.1:4196"
)

// Field is the top-level field. As mqtt_broker, it is there with an empty address where it is absent.
func Field() *service.ConfigField {
	return service.NewObjectField(fieldAPI,
		service.NewStringField(fieldAddress).
			Description("The host and port to listen on. An empty host listens on all interfaces. Without tokens, only an address of this machine is allowed. Empty means no API.").
			Default(defaultAddress).
			Example(defaultAddress).
			Example(":4196").
			LintRule(`root = if this != "" && !this.re_match(":[0-9]+$") { [ "address \"%s\" has no port: write host:port, such as `+defaultAddress+`".format(this) ] }`),
		tlsconfig.Field(),
		service.NewObjectField(fieldTokens, tokenconfig.Fields()...).
			Description("Callers are service accounts: they need a token in the header, or gRPC metadata, `Authorization: Bearer`, and its `sub` claim is the ID of the account, to which `access_bindings` gives roles. "+tokenconfig.Description+" With tokens, `/streams` of Benthos' HTTP API asks for them, too. With no key, callers need no token: they are programs of this machine, and may do all.").
			Example(map[string]any{"public_key_files": []any{"/etc/iotcast/accounts.pem"}, "audiences": []any{"iotcast"}}).
			LintRule(tokenconfig.LintRule),
		bindingsField(),
		service.NewStringField(fieldStateDir).
			Description("The directory of the file that keeps what is made over this API: registries, devices, brokers, their credentials (of passwords the hashes only), triggers, and the last operations. It is made if it is not there. Empty means that all of it is lost with the process.").
			Default("").
			Example("/var/lib/iotcast"),
		service.NewStringField(fieldTriggerTemplate).
			Description("A file with the stream that triggers become, for TLS to the MQTT broker, other processors, or a second output: one `iot_mqtt` and one `websocket_broadcast`, in which each trigger fills in its own fields. Where its `iot_mqtt` has no `urls`, triggers connect to `mqtt_broker` of this process, each as its registry or broker, or else to `tcp://localhost:1883` with `${IOTCAST_MQTT_USER}` and `${IOTCAST_MQTT_PASSWORD}`. It is read when the process starts. Empty means the one in [triggers](../triggers.md#the-template).").
			Default("").
			Example("/etc/iotcast/trigger.yaml"),
		service.NewBoolField(fieldConsole).
			Description("Serves the console at `/` of the address: a page that shows what flows, who is connected and what is wrong, and changes it. It has no power of its own: with `tokens` it asks for one, and shows and does what its roles allow. See [the console](../console.md).").
			Default(false).
			Example(true),
	).
		Description("The management API: registries, devices, brokers and triggers are made and changed while the process runs, and each change takes effect at once. It is the API of the original service, from its own published types, over gRPC and, on the same address, over REST; see [the management API](../management.md). `{}` starts it with the defaults.\n\n" +
			"With it, `mqtt_broker` without `users` lets in only those that the config file or this API names.").
		Example(map[string]any{fieldStateDir: "/var/lib/iotcast"}).
		Example(map[string]any{
			fieldAddress: ":4196",
			fieldTLS:     map[string]any{"cert_file": "/etc/iotcast/tls.crt", "key_file": "/etc/iotcast/tls.key"},
			fieldTokens:  map[string]any{"jwks_url": "https://id.example.com/.well-known/jwks.json", "audiences": []any{"iotcast"}},
			fieldAccessBindings: []any{
				map[string]any{fieldServiceAccountID: "operator", fieldRoles: []any{access.AdminOfAll}},
			},
			fieldStateDir: "/var/lib/iotcast",
		}).
		Default(map[string]any{
			fieldAddress: "", fieldTLS: map[string]any{}, fieldTokens: map[string]any{}, fieldAccessBindings: []any{}, fieldStateDir: "", fieldTriggerTemplate: "", fieldConsole: false,
		}).
		LintRule(`let keys = [ this.tokens.secret.or(""), this.tokens.jwks_file.or(""), this.tokens.jwks_url.or("") ].filter(k -> k != "").length() + this.tokens.public_key_files.or([]).length()
root = if this.address.or("") == "" || $keys > 0 { [] } else if !this.address.re_match("^(?i)(localhost|127(\\.[0-9]{1,3}){3}|\\[::1\\]):[0-9]+$") {
  [ "address %s can be reached from other machines, and without tokens everyone could change everything: set tokens, or listen on 127.0.0.1".format(this.address) ]
} else if this.access_bindings.or([]).length() > 0 { [ "` + errBindings + `" ] }`)
}

const (
	errBindings  = "access_bindings are for callers with a token: set tokens, too"
	errNoAccount = "service_account_id must not be empty"
	errNoRole    = "roles needs at least one role"
)

func bindingsField() *service.ConfigField {
	known := access.GrantNames()
	return service.NewObjectListField(fieldAccessBindings,
		service.NewStringField(fieldServiceAccountID).
			Description("The ID of the service account: the `sub` claim of its tokens.").
			Example("operator").
			LintRule(`root = if this == "" { [ "`+errNoAccount+`" ] }`),
		service.NewStringListField(fieldRoles).
			Description("What the account may do. `viewer` sees everything; `editor` changes registries, devices, brokers and triggers besides, and publishes; `admin` may do all, which takes in streams and the state as a whole. `iot.devices.writer` publishes. `iam.serviceAccounts.user` makes triggers that act as a service account, and comes beside `editor`. The `api-gateway.…` roles are for connections, beside those that a gateway itself gives; `viewer` and `editor` hold them.").
			Example([]string{access.EditorOfAll, access.ServiceAccountsUser}).
			LintRule(fmt.Sprintf(`root = if this.type() == "string" && !%q.split(" ").contains(this) { [ "role %%s does not exist: there is %s".format(this) ] }`,
				strings.Join(known, " "), strings.Join(known, ", "))),
		service.NewStringListField(fieldResources).
			Description("On what the roles hold: IDs of registries, which stand for their devices, too, of devices, brokers, triggers, labels of gateways, or, for `iam.serviceAccounts.user`, service accounts. With none, they hold on all.").
			Default([]any{}).
			Example([]string{"my-registry"}),
	).
		Description("Which service account may do what. Who is not named here may do nothing.").
		Default([]any{}).
		Example([]any{
			map[string]any{fieldServiceAccountID: "operator", fieldRoles: []any{access.AdminOfAll}},
			map[string]any{fieldServiceAccountID: "importer", fieldRoles: []any{access.EditorOfAll}, fieldResources: []any{"my-registry"}},
		}).
		LintRule(`root = if this.type() == "object" && this.roles.or([]).length() == 0 { [ "` + errNoRole + `" ] }`)
}

func parseBindings(conf *service.ParsedConfig) (grants access.Grants, err error) {
	list, err := conf.FieldObjectList(fieldAccessBindings)
	if err != nil {
		return nil, err
	}
	for i, b := range list {
		account, err1 := b.FieldString(fieldServiceAccountID)
		roles, err2 := b.FieldStringList(fieldRoles)
		resources, err3 := b.FieldStringList(fieldResources)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		if len(roles) == 0 {
			return nil, fmt.Errorf("%s[%d] %q: %s", fieldAccessBindings, i, account, errNoRole)
		}
		for _, role := range roles {
			g := access.Grant{Account: account, Role: role, Resources: resources}
			if err := g.Check(); err != nil {
				return nil, fmt.Errorf("%s[%d]: %w", fieldAccessBindings, i, err)
			}
			grants = append(grants, g)
		}
	}
	return grants, nil
}
