package managementapi

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/console"
	"github.com/iotcast/iotcast/internal/control"
	"github.com/iotcast/iotcast/internal/readiness"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
	"github.com/iotcast/iotcast/internal/token"
	"github.com/iotcast/iotcast/plugins/httpguard"
	"github.com/iotcast/iotcast/plugins/internal/logging"
	"github.com/iotcast/iotcast/plugins/internal/tlsconfig"
	"github.com/iotcast/iotcast/plugins/internal/tokenconfig"
)

// API is the API of a process, and what it keeps.
type API struct {
	verifier *token.Verifier // of callers' tokens; nil: they need none
	grants   access.Grants

	conf      *service.ParsedConfig
	log       *slog.Logger
	address   string
	template  []byte // of triggers
	state     *state.Store
	temporary bool // state is lost with the process
	cleanup   []func()
	server    atomic.Pointer[control.Server] // nil before Serve
}

// FromConfig reads the field from the root config. It returns nil when there is to be no API.
func FromConfig(root *service.ParsedConfig) (*API, error) {
	if !root.Contains(fieldAPI) { // the schema does not have the field
		return nil, nil
	}
	a := &API{conf: root.Namespace(fieldAPI), log: logging.New(root.Resources().Logger()).With("component", fieldAPI)}
	var err error
	if a.address, err = a.conf.FieldString(fieldAddress); err != nil || a.address == "" {
		return nil, err
	}
	cfg, on, err := tokenconfig.Parse(a.conf.Namespace(fieldTokens))
	if err != nil {
		return nil, err
	}
	if on {
		if a.verifier, err = token.New(cfg); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", fieldAPI, fieldTokens, err)
		}
	}
	if a.grants, err = parseBindings(a.conf); err != nil {
		return nil, fmt.Errorf("%s.%w", fieldAPI, err)
	}
	if a.template, err = templateFromConfig(a.conf); err != nil {
		return nil, fmt.Errorf("%s.%s: %w", fieldAPI, fieldTriggerTemplate, err)
	}
	if err := (control.Config{Address: a.address, Verifier: a.verifier, Grants: a.grants}).Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", fieldAPI, err)
	}
	return a, nil
}

// Callers are those that the API knows by their tokens; without an API, none.
func (a *API) Callers() httpguard.Callers {
	if a == nil {
		return httpguard.Callers{}
	}
	return httpguard.Callers{Verifier: a.verifier, Grants: a.grants}
}

// IsTrigger reports whether a stream is that of a trigger of the API.
func (a *API) IsTrigger(id string) bool {
	if a == nil {
		return false
	}
	server := a.server.Load()
	return server != nil && server.IsTrigger(id)
}

// Open begins to verify tokens, opens the state, and returns who takes part: whom the config file names, and whom the state
// has.
func (a *API) Open(fixed registry.Config) (*registry.Directory, error) {
	if a.verifier != nil {
		if err := a.verifier.Start(a.log); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", fieldAPI, fieldTokens, err)
		}
		a.cleanup = append(a.cleanup, a.verifier.Close)
	}
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	if a.state, err = state.Open(dir); err != nil {
		return nil, fmt.Errorf("%s.%s: %w", fieldAPI, fieldStateDir, err)
	}
	a.cleanup = append(a.cleanup, func() { _ = a.state.Close() })
	all, err := control.Restored(a.state, fixed)
	if err != nil {
		return nil, fmt.Errorf("%s.%s: %s: %w", fieldAPI, fieldStateDir, a.state.Path(), err)
	}
	directory, err := registry.New(all)
	if err != nil {
		return nil, fmt.Errorf("iot_registries and iot_brokers, with what %s holds: %w", a.state.Path(), err)
	}
	return directory, nil
}

// stateDir is where the state is kept: where the config says, or as long as the process.
func (a *API) stateDir() (dir string, err error) {
	if dir, err = a.conf.FieldString(fieldStateDir); err != nil || dir != "" {
		return dir, err
	}
	if dir, err = os.MkdirTemp("", "iotcast-state-"); err != nil {
		return "", fmt.Errorf("making a directory for the state, as %s.%s is empty: %w", fieldAPI, fieldStateDir, err)
	}
	a.temporary = true
	a.log.Warn("What is made over the management API is lost with the process: set management_api.state_dir to keep it")
	a.cleanup = append(a.cleanup, func() { _ = os.RemoveAll(dir) })
	return dir, nil
}

// Serve answers requests, until Close. It comes after Open. Until the triggers are started, ready is told so.
func (a *API) Serve(cfg control.Config, ready *readiness.Checks) (err error) {
	cfg.Temporary = a.temporary
	cfg.Address, cfg.Verifier, cfg.Grants, cfg.State, cfg.TriggerTemplate = a.address, a.verifier, a.grants, a.state, a.template
	if cfg.TLS, err = tlsconfig.Server(a.conf, a.log); err != nil {
		return fmt.Errorf("%s.%w", fieldAPI, err)
	}
	if on, err := a.conf.FieldBool(fieldConsole); err != nil {
		return err
	} else if on {
		cfg.Console = console.Handler()
		cfg.Tap.KeepLatest()
	}
	requests := a.conf.Resources().Metrics().NewCounter("management_api_requests", "method", "code")
	server, err := control.Start(cfg, func(method, code string) { requests.Incr(1, method, code) }, a.log)
	if err != nil {
		return fmt.Errorf("%s.%w", fieldAPI, err)
	}
	a.server.Store(server)
	ready.Add(server.Ready)
	a.cleanup = append(a.cleanup, func() {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		server.Close(ctx)
	})
	return nil
}

// requestTimeout is for the requests that are under way at the end.
const requestTimeout = time.Second

// Close undoes Serve and Open.
func (a *API) Close() {
	for i := range a.cleanup {
		a.cleanup[len(a.cleanup)-1-i]()
	}
	a.cleanup = nil
}
