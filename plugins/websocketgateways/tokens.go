package websocketgateways

import (
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/token"
	"github.com/iotcast/iotcast/plugins/internal/tokenconfig"
)

const (
	fieldTokens            = "tokens"
	fieldQueryParameter    = "query_parameter"
	fieldSubprotocolPrefix = "subprotocol_prefix"
	fieldRoutesClaim       = "routes_claim"
	fieldOptional          = "optional"
)

// tokensField is the field of a gateway, and of a route that has its own.
func tokensField() *service.ConfigField {
	fields := append(tokenconfig.Fields(),
		service.NewStringField(fieldRoutesClaim).
			Description("A claim that lists the paths that the token opens: an array of strings, or one string with white space between. Empty means that a token opens every path.").
			Default("").
			Example("routes"),
		service.NewStringField(fieldQueryParameter).
			Description("A parameter of the URL's query in which a client may put its token, as web pages cannot set the `Authorization` header. URLs tend to be logged: prefer `"+fieldSubprotocolPrefix+"` where you can choose. Empty means that tokens are not taken from there.").
			Default("").
			Example("access_token"),
		service.NewStringField(fieldSubprotocolPrefix).
			Description("With this prefix a web page may offer its token as a subprotocol: with `bearer.` it opens `new WebSocket(url, [\"my-protocol\", \"bearer.\" + token])`. Empty means that tokens are not taken from there.").
			Default("").
			Example("bearer.").
			LintRule("root = if this != \"\" && !this.re_match(\"^[0-9A-Za-z!#$%&'*+.^_`|~-]+$\") { [ \"subprotocol_prefix must hold nothing but letters, digits and any of ! # $ % & ' * + - . ^ _ ` | ~ (RFC 6455, section 4.1)\" ] }"),
		service.NewBoolField(fieldOptional).
			Description("Whether a client without a token may connect, too. One with a bad token may not. `on_connect` can tell the two apart by the claims.").
			Default(false).
			Example(true).
			Advanced(),
	)
	return service.NewObjectField(fieldTokens, fields...).
		Description("Asks clients for a token. It is taken from the header `Authorization: Bearer` or from where the fields below say. Without a good one a client is refused with 401, and its connection is closed with code 4401 when the token expires. " + tokenconfig.Description + " With no key, clients need no token.").
		Example(map[string]any{"jwks_url": "https://id.example.com/.well-known/jwks.json", "audiences": []any{"iotcast"}, fieldRoutesClaim: "routes"}).
		Example(map[string]any{"secret": "${TOKEN_SECRET}", fieldQueryParameter: "access_token"}).
		LintRule(tokenconfig.LintRule)
}

// parseTokens reads the field tokens of a gateway or a route; nil means that it
// has no key, and so asks for no token.
func parseTokens(conf *service.ParsedConfig) (*gateway.Tokens, error) {
	conf = conf.Namespace(fieldTokens)
	cfg, on, err := tokenconfig.Parse(conf)
	if err != nil || !on {
		return nil, err
	}
	t := new(gateway.Tokens)
	if t.Verifier, err = token.New(cfg); err != nil {
		return nil, fmt.Errorf("%s: %w", fieldTokens, err)
	}
	for name, to := range map[string]*string{
		fieldQueryParameter: &t.QueryParameter, fieldSubprotocolPrefix: &t.SubprotocolPrefix, fieldRoutesClaim: &t.RoutesClaim,
	} {
		if *to, err = conf.FieldString(name); err != nil {
			return nil, err
		}
	}
	t.Optional, err = conf.FieldBool(fieldOptional)
	return t, err
}
