// Package httpguard is the top-level field http_guard: it puts the guard before
// the HTTP API of Benthos, before there are streams that the API could change.
package httpguard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/guard"
	"github.com/iotcast/iotcast/internal/httpguard"
	"github.com/iotcast/iotcast/internal/token"
	"github.com/iotcast/iotcast/plugins/internal/logging"
)

const (
	fieldGuard           = "http_guard"
	fieldUsername        = "username"
	fieldPassword        = "password"
	fieldOpenPaths       = "open_paths"
	fieldAllowComponents = "allow_components"
	fieldAllowVariables  = "allow_variables"

	fieldHTTP      = "http"
	fieldEnabled   = "enabled"
	fieldAddress   = "address"
	fieldRootPath  = "root_path"
	fieldCertFile  = "cert_file"
	fieldKeyFile   = "key_file"
	fieldCORS      = "cors"
	fieldOrigins   = "allowed_origins"
	fieldBasicAuth = "basic_auth"
)

// DefaultAddress is where the API listens: Benthos' own default is all interfaces.
const DefaultAddress = "127.0.0.1:4195"

var (
	defaultOpenPaths = []any{"/ping", "/ready", "/metrics"}
	// defaultVariables are those of the stream that a trigger becomes.
	defaultVariables = []any{"IOTCAST_MQTT_USER", "IOTCAST_MQTT_PASSWORD"}
)

// Field is the top-level field.
func Field() *service.ConfigField {
	return service.NewObjectField(fieldGuard,
		service.NewStringField(fieldUsername).
			Description("The user name that callers need, by HTTP basic authentication. Empty: none is asked for, and then streams mode starts only on an address of this machine.").
			Default("").
			Example("${IOTCAST_API_USER:}"),
		service.NewStringField(fieldPassword).
			Description("The password that callers need. Keep it in an environment variable.").
			Secret().
			Default("").
			Example("${IOTCAST_API_PASSWORD:}"),
		service.NewStringListField(fieldOpenPaths).
			Description("Paths that need no user name and password, for probes and scrapers.").
			Default(defaultOpenPaths).
			Example([]any{}),
		service.NewStringListField(fieldAllowComponents).
			Description("Names of components and Bloblang functions that streams may have although they come over HTTP. They run programs, read or write files, read the environment, or open an API that is not guarded; whoever may make streams can do with them what iotcast may. `import` stands for the import of Bloblang files. The names that are refused without are in [a gateway that faces others](../security.md#who-may-make-streams). Streams from files may have all.").
			Default([]any{}).
			Example([]any{"file"}),
		service.NewStringListField(fieldAllowVariables).
			Description("Environment variables that streams may use as `${NAME}` although they come over HTTP. Whoever may make streams can learn their values.").
			Default(defaultVariables).
			Example([]any{"NODE_ID"}),
	).
		Description("Who may call Benthos' HTTP API (`http.address`), and what streams that come over it may do.\n\n" +
			"Pages of other sites are refused, whatever they send, unless `http.cors` names their origin, and so are requests to `127.0.0.1` under another host name (DNS rebinding). On an address that other machines reach, streams mode starts only with a user name and a password, or with `http.basic_auth`, which closes the probes, too.").
		Example(map[string]any{fieldUsername: "${IOTCAST_API_USER}", fieldPassword: "${IOTCAST_API_PASSWORD}"}).
		LintRule(`root = if (this.username.or("") == "") != (this.password.or("") == "") { [ "username and password belong together: set both or neither" ] }`)
}

// Mode is what the command line says about the API.
type Mode struct {
	streams, noAPI bool
}

// HasStreams reports whether the API makes streams.
func (m Mode) HasStreams() bool { return m.streams && !m.noAPI }

const flagSet = "set"

// Extract reads the command line before Benthos reads its config. With --no-api
// nothing listens: Benthos would, for what is not about streams.
func (m *Mode) Extract(c *cli.Context) error {
	m.streams = c.Command.Name == "streams"
	m.noAPI = m.streams && c.Bool("no-api")
	if !m.noAPI {
		return nil
	}
	// What is set here hides what is set before the name of the command.
	settings := slices.Clone(c.StringSlice(flagSet))
	for _, outer := range c.Lineage()[1:] {
		if len(settings) == 0 && outer.Command != nil {
			settings = slices.Clone(outer.StringSlice(flagSet))
		}
	}
	for _, setting := range append(settings, fieldHTTP+"."+fieldEnabled+"=false") {
		if err := c.Set(flagSet, setting); err != nil {
			return fmt.Errorf("--no-api: %w", err)
		}
	}
	return nil
}

// Callers are those with a token, as the management API has them.
type Callers struct {
	Verifier *token.Verifier // nil: there are none
	Grants   access.Grants
}

// Start puts the guard before the API of the root config, and returns the API
// without it. What is not ready beside the streams has /ready answer 503. The function
// that it returns ends the guard.
func Start(
	root *service.ParsedConfig, mode Mode, callers Callers, ready func() error, isTrigger func(string) bool,
) (api http.Handler, stop func(context.Context), err error) {
	stop = func(context.Context) {}
	if !root.Contains(fieldGuard) || !root.Contains(fieldHTTP) { // the schema does not have the fields
		return http.NotFoundHandler(), stop, nil
	}
	listener, err := listenerFromConfig(root.Namespace(fieldHTTP))
	if err != nil {
		return nil, nil, err
	}
	cfg, err := fromConfig(root)
	if err != nil {
		return nil, nil, err
	}
	cfg.Ready, cfg.IsTrigger, cfg.Verifier, cfg.Grants = ready, isTrigger, callers.Verifier, callers.Grants
	api, err = takeOver(root.Resources())
	if err != nil {
		return nil, nil, err
	}
	if !listener.enabled {
		return api, stop, nil
	}
	log := logging.New(root.Resources().Logger()).With("component", fieldGuard)
	if (cfg.Username != "" || cfg.Verifier != nil) && listener.basicAuth {
		return nil, nil, errors.New("http.basic_auth asks for a password, and so do http_guard or the tokens of management_api: unset http.basic_auth")
	}
	if mode.streams && !guard.Loopback(cfg.Address) && cfg.Username == "" && cfg.Verifier == nil && !listener.basicAuth {
		return nil, nil, fmt.Errorf("http.address %s can be reached from other machines, and whoever reaches it could run streams: "+
			`set username and password of http_guard, such as http_guard: { username: '${IOTCAST_API_USER}', password: '${IOTCAST_API_PASSWORD}' }, `+
			"or tokens of management_api, or listen on %s, or start with --no-api", cfg.Address, DefaultAddress)
	}
	handler, err := httpguard.New(cfg, api, log)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", fieldGuard, err)
	}
	end, err := listener.serve(cfg.Address, handler, log)
	switch {
	case err == nil:
		return api, end, nil
	case mode.streams:
		return nil, nil, err
	}
	log.Error("The HTTP API is not there, everything else is", "error", err) // as Benthos has it
	return api, stop, nil
}

func fromConfig(root *service.ParsedConfig) (cfg httpguard.Config, err error) {
	http, guard := root.Namespace(fieldHTTP), root.Namespace(fieldGuard)
	var errs [8]error
	cfg.Address, errs[0] = http.FieldString(fieldAddress)
	cfg.RootPath, errs[1] = http.FieldString(fieldRootPath)
	cfg.Username, errs[2] = guard.FieldString(fieldUsername)
	cfg.Password, errs[3] = guard.FieldString(fieldPassword)
	cfg.OpenPaths, errs[4] = guard.FieldStringList(fieldOpenPaths)
	cfg.AllowComponents, errs[5] = guard.FieldStringList(fieldAllowComponents)
	cfg.AllowVariables, errs[6] = guard.FieldStringList(fieldAllowVariables)
	if cors, _ := http.FieldBool(fieldCORS, fieldEnabled); cors {
		cfg.TrustedOrigins, errs[7] = http.FieldStringList(fieldCORS, fieldOrigins)
		// Every page is no page that somebody has named.
		cfg.TrustedOrigins = slices.DeleteFunc(cfg.TrustedOrigins, func(origin string) bool { return origin == "*" })
	}
	return cfg, errors.Join(errs[:]...)
}

// Masked is the config of a stream as it may be shown, without secrets.
func Masked(config []byte) ([]byte, error) {
	return httpguard.Masked(service.GlobalEnvironment(), config)
}
