// Package connectionapi is the top-level field connection_api: it starts the HTTP
// API over the connections of the gateways of a process.
package connectionapi

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/redpanda-data/benthos/v4/public/service"

	api "github.com/iotcast/iotcast/internal/connectionapi"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/readiness"
	"github.com/iotcast/iotcast/internal/token"
	"github.com/iotcast/iotcast/plugins/internal/logging"
	"github.com/iotcast/iotcast/plugins/internal/tlsconfig"
	"github.com/iotcast/iotcast/plugins/internal/tokenconfig"
)

const (
	fieldAPI             = "connection_api"
	fieldAddress         = "address"
	fieldTokens          = "tokens"
	fieldMaxMessageBytes = "max_message_bytes"
)

// Field is the top-level field.
func Field() *service.ConfigField {
	return service.NewObjectField(fieldAPI,
		service.NewStringField(fieldAddress).
			Description("The host and port to listen on. An empty host listens on all interfaces. An empty address means no API. Without tokens, only an address of this machine is allowed.").
			Default("").
			Example("127.0.0.1:8081").
			LintRule(`root = if this != "" && !this.re_match(":[0-9]+$") { [ "address \"%s\" has no port: write host:port, such as 127.0.0.1:8081".format(this) ] }`),
		tlsconfig.Field(),
		service.NewObjectField(fieldTokens, tokenconfig.Fields()...).
			Description("Callers are service accounts: they need a token in the header `Authorization: Bearer`, and its `sub` claim is the ID of the account, to which the `access_bindings` of a gateway give roles. "+tokenconfig.Description+" With no key, callers need no token: they are taken for this process itself, which may do all on gateways without `access_bindings`, and nothing on others.").
			Example(map[string]any{"public_key_files": []any{"/etc/iotcast/accounts.pem"}, "audiences": []any{"iotcast"}}).
			LintRule(tokenconfig.LintRule),
		service.NewIntField(fieldMaxMessageBytes).
			Description("The largest message that may be sent or broadcast, in bytes.").
			Default(128<<10).
			Example(1024).
			LintRule(`root = if this.type() == "number" && this < 1 { [ "max_message_bytes must be at least 1" ] }`).
			Advanced(),
		forwardField(),
		nodesField(),
	).
		Description("An HTTP API over the WebSocket connections of this process. Below `/apigateways/websocket/v1` it can get, address and close a connection as the original service does, and besides list connections and broadcast to a path:\n\n" +
			"| call | does | role on the gateway |\n" +
			"|---|---|---|\n" +
			"| `GET /connections` | lists the connections that are open, by pages, filtered with `gatewayId`, `path` and `sourceIp` | `api-gateway.viewer` |\n" +
			"| `GET /connections/{id}` | shows a connection | `api-gateway.viewer` |\n" +
			"| `POST /connections/{id}:send` | sends it a message, in base64 | `api-gateway.websocketWriter` |\n" +
			"| `DELETE /connections/{id}` | closes it | `api-gateway.websocketWriter` |\n" +
			"| `POST /gateways/{label}:broadcast` | sends a message to every connection of a path | `api-gateway.websocketBroadcaster` |\n\n" +
			"The API serves its own OpenAPI document at `/openapi.yaml`.").
		Example(map[string]any{fieldAddress: "127.0.0.1:8081"}).
		Example(map[string]any{
			fieldAddress: ":8443",
			"tls":        map[string]any{"cert_file": "/etc/iotcast/tls.crt", "key_file": "/etc/iotcast/tls.key"},
			fieldTokens:  map[string]any{"jwks_url": "https://id.example.com/.well-known/jwks.json", "audiences": []any{"iotcast"}},
		}).
		LintRule(`let keys = [ this.tokens.secret.or(""), this.tokens.jwks_file.or(""), this.tokens.jwks_url.or("") ].filter(k -> k != "").length() + this.tokens.public_key_files.or([]).length()
let apart = if this.nodes.or([]).length() > 0 && this.forward.or([]).length() == 0 { [ "nodes is set, and forward is not: it takes processors that carry requests to the nodes" ] } else { [] }
root = $apart.concat(if this.address.or("") != "" && $keys == 0 && !this.address.re_match("^(?i)(localhost|127(\\.[0-9]{1,3}){3}|\\[::1\\]):[0-9]+$") {
  [ "address %s can be reached from other machines, and without tokens everyone could send: set tokens, or listen on 127.0.0.1".format(this.address) ]
} else { [] })`)
}

// Start starts the API of the root config, if it is to have one, over the gateways
// that are started. Until it can forward, ready is told so. The returned function ends
// it.
func Start(root *service.ParsedConfig, ready *readiness.Checks) (stop func(context.Context), err error) {
	stop = func(context.Context) {}
	if !root.Contains(fieldAPI) { // the schema does not have the field
		return stop, nil
	}
	conf := root.Namespace(fieldAPI)
	address, err := conf.FieldString(fieldAddress)
	if err != nil || address == "" {
		return stop, err
	}
	if stop, err = start(conf, address, ready); err != nil {
		return nil, fmt.Errorf("%s: %w", fieldAPI, err)
	}
	return stop, nil
}

func start(conf *service.ParsedConfig, address string, ready *readiness.Checks) (stop func(context.Context), err error) {
	res := conf.Resources()
	log := logging.New(res.Logger()).With("component", fieldAPI)
	cfg := api.Config{Address: address}
	if cfg.MaxMessageBytes, err = conf.FieldInt(fieldMaxMessageBytes); err != nil {
		return nil, err
	}
	if cfg.Verifier, err = verifier(conf.Namespace(fieldTokens)); err != nil {
		return nil, fmt.Errorf("%s: %w", fieldTokens, err)
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.TLS, err = tlsconfig.Server(conf, log); err != nil {
		return nil, err
	}
	set, ok := res.GetGeneric(gateway.Key)
	if !ok {
		return nil, errors.New("the gateways are not started")
	}
	directory, closeForward, err := directory(conf, set.(*gateway.Set), ready, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			closeForward(context.Background())
		}
	}()
	if cfg.Verifier != nil {
		if err := cfg.Verifier.Start(log); err != nil {
			return nil, fmt.Errorf("%s: %w", fieldTokens, err)
		}
	}
	requests := res.Metrics().NewCounter("connection_api_requests", "method", "status")
	server, err := api.Start(cfg, directory, func(method string, status int) {
		requests.Incr(1, method, strconv.Itoa(status))
	}, log)
	if err != nil {
		closeVerifier(cfg.Verifier)
		return nil, err
	}
	return func(ctx context.Context) {
		server.Close(ctx)
		closeForward(ctx)
		closeVerifier(cfg.Verifier)
	}, nil
}

// verifier is nil if there is no key to verify tokens with.
func verifier(conf *service.ParsedConfig) (*token.Verifier, error) {
	cfg, on, err := tokenconfig.Parse(conf)
	if err != nil || !on {
		return nil, err
	}
	return token.New(cfg)
}

func closeVerifier(v *token.Verifier) {
	if v != nil {
		v.Close()
	}
}
