package websocketgateways

import (
	"fmt"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/access"
)

const (
	fieldAccessBindings   = "access_bindings"
	fieldServiceAccountID = "service_account_id"
	fieldRoles            = "roles"
)

func bindingsField() *service.ConfigField {
	known := strings.Join(access.Names(), "`, `")
	return service.NewObjectListField(fieldAccessBindings,
		service.NewStringField(fieldServiceAccountID).
			Description("The ID of the service account: the `service_account_id` of a `websocket_broadcast` output, or the `sub` claim of a token that the connection API gets.").
			Example("telemetry-trigger").
			LintRule(`root = if this == "" { [ "`+errNoAccount+`" ] }`),
		service.NewStringListField(fieldRoles).
			Description("What the account may do, each role with all before it: `"+known+"`. To see connections takes `"+access.Viewer.String()+"`, to send to one or to close one `"+access.Writer.String()+"`, to broadcast `"+access.Broadcaster.String()+"`.").
			Example([]string{access.Broadcaster.String()}).
			LintRule(fmt.Sprintf(`root = if this.type() == "string" && !%q.split(" ").contains(this.trim_prefix("api-gateway.")) { [ "role %%s does not exist: there is %s".format(this) ] }`,
				strings.ReplaceAll(strings.Join(access.Names(), " "), "api-gateway.", ""), strings.Join(access.Names(), ", "))),
	).
		Description("Which service account may do what with the connections of this gateway. With none, every output of this process may broadcast, and the connection API lets nobody in who needs a token.").
		Default([]any{}).
		Example([]any{map[string]any{fieldServiceAccountID: "telemetry-trigger", fieldRoles: []any{access.Broadcaster.String()}}}).
		LintRule(`root = if this.type() == "object" && this.roles.or([]).length() == 0 { [ "` + errNoRole + `" ] }`)
}

const (
	errNoAccount = "service_account_id must not be empty"
	errNoRole    = "roles needs at least one role"
)

// parseBindings reads the field access_bindings of a gateway.
func parseBindings(conf *service.ParsedConfig) (access.Bindings, error) {
	list, err := conf.FieldObjectList(fieldAccessBindings)
	if err != nil {
		return nil, err
	}
	bindings := access.Bindings{}
	for i, b := range list {
		account, err := b.FieldString(fieldServiceAccountID)
		if err != nil {
			return nil, err
		}
		names, err := b.FieldStringList(fieldRoles)
		if err != nil {
			return nil, err
		}
		switch {
		case account == "":
			return nil, fmt.Errorf("%s[%d]: %s", fieldAccessBindings, i, errNoAccount)
		case len(names) == 0: // no binding at all would let everyone in
			return nil, fmt.Errorf("%s[%d] %q: %s", fieldAccessBindings, i, account, errNoRole)
		}
		for _, name := range names {
			role, err := access.ParseRole(name)
			if err != nil {
				return nil, fmt.Errorf("%s[%d] %q: %w", fieldAccessBindings, i, account, err)
			}
			bindings.Bind(account, role)
		}
	}
	return bindings, nil
}
