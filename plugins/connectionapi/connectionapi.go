// Package connectionapi is the top-level field connection_api: it starts the API over the connections of the gateways of a
// process.
package connectionapi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/control"
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

	defaultMaxMessageBytes = 128 << 10
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
			Default(defaultMaxMessageBytes).
			Example(1024).
			LintRule(`root = if this.type() == "number" && this < 1 { [ "max_message_bytes must be at least 1" ] }`).
			Advanced(),
		forwardField(),
		nodesField(),
	).
		Description("An API over the WebSocket connections of this process. It is the `ConnectionService` of the original, from its own published types: below `/apigateways/websocket/v1` over REST and, at the same address, over gRPC it gets, addresses and closes a connection. Besides, over HTTP alone, it lists connections and broadcasts to a path:\n\n" +
			"| call | does | role on the gateway |\n" +
			"|---|---|---|\n" +
			"| `GET /connections` | lists the connections that are open, by pages, filtered with `gatewayId`, `path`, `sourceIp`, `deviceId` (that they have chosen) and `subject`, with what each has chosen and what waits for it | `api-gateway.viewer` |\n" +
			"| `GET /connections/{id}` | shows a connection | `api-gateway.viewer` |\n" +
			"| `POST /connections/{id}:send` | sends it a message, in base64 | `api-gateway.websocketWriter` |\n" +
			"| `DELETE /connections/{id}` | closes it | `api-gateway.websocketWriter` |\n" +
			"| `POST /gateways/{label}:broadcast` | sends a message to every connection of a path | `api-gateway.websocketBroadcaster` |\n\n" +
			"The API serves its own OpenAPI document at `/openapi.yaml`. [`management_api`](../management.md) serves the same calls; there the roles of its own `access_bindings` count, too. Pages of other origins and, without tokens, other host names than this machine's are refused with 403 and 421. Each call that closes a connection or is refused stands in the log, with the service account, and at the level `DEBUG` each other.").
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

// API is what a process knows of connections, and the listener that serves it.
type API struct {
	Directory       connections.Directory // of this process, or of all nodes
	MaxMessageBytes int

	cleanup []func(context.Context)
}

// Start starts the API of the root config, if it is to have one, over the gateways that are started. The directory is there
// without an address, too, where the management API serves it. Until it can forward, ready is told so.
func Start(root *service.ParsedConfig, ready *readiness.Checks, managed bool) (*API, error) {
	a := &API{MaxMessageBytes: defaultMaxMessageBytes}
	address := ""
	conf := root.Namespace(fieldAPI)
	if root.Contains(fieldAPI) { // or else the schema does not have the field
		var err error
		if address, err = conf.FieldString(fieldAddress); err != nil {
			return nil, err
		}
	}
	if address == "" && !managed {
		return a, nil
	}
	if err := a.start(conf, address, ready); err != nil {
		a.Close(context.Background())
		return nil, fmt.Errorf("%s: %w", fieldAPI, err)
	}
	return a, nil
}

// Close undoes Start.
func (a *API) Close(ctx context.Context) {
	for _, f := range slices.Backward(a.cleanup) {
		f(ctx)
	}
	a.cleanup = nil
}

func (a *API) start(conf *service.ParsedConfig, address string, ready *readiness.Checks) (err error) {
	res := conf.Resources()
	log := logging.New(res.Logger()).With("component", fieldAPI)
	cfg := control.Config{Address: address}
	if conf.Contains(fieldMaxMessageBytes) {
		if a.MaxMessageBytes, err = conf.FieldInt(fieldMaxMessageBytes); err != nil {
			return err
		}
	}
	cfg.MaxMessageBytes = a.MaxMessageBytes
	if address != "" {
		if cfg.Verifier, err = verifier(conf.Namespace(fieldTokens)); err != nil {
			return fmt.Errorf("%s: %w", fieldTokens, err)
		}
		if err := cfg.CheckConnections(); err != nil {
			return err
		}
		if cfg.TLS, err = tlsconfig.Server(conf, log); err != nil {
			return err
		}
	}
	set, ok := res.GetGeneric(gateway.Key)
	if !ok {
		return errors.New("the gateways are not started")
	}
	directory, closeForward, err := directory(conf, set.(*gateway.Set), ready, log)
	if err != nil {
		return err
	}
	a.Directory = directory
	a.cleanup = append(a.cleanup, closeForward)
	if address == "" {
		return nil
	}
	if cfg.Verifier != nil {
		if err := cfg.Verifier.Start(log); err != nil {
			return fmt.Errorf("%s: %w", fieldTokens, err)
		}
		a.cleanup = append(a.cleanup, func(context.Context) { cfg.Verifier.Close() })
	}
	cfg.Connections = directory
	requests := res.Metrics().NewCounter("connection_api_requests", "method", "status")
	server, err := control.StartConnections(cfg, func(method string, status int) {
		requests.Incr(1, method, strconv.Itoa(status))
	}, log)
	if err != nil {
		return err
	}
	a.cleanup = append(a.cleanup, server.Close)
	return nil
}

// verifier is nil if there is no key to verify tokens with.
func verifier(conf *service.ParsedConfig) (*token.Verifier, error) {
	cfg, on, err := tokenconfig.Parse(conf)
	if err != nil || !on {
		return nil, err
	}
	return token.New(cfg)
}
