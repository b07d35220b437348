package gateway

import (
	"fmt"
	"sync/atomic"
)

// shared is what the routes of a gateway have in common.
type shared struct {
	label       string
	node        string                 // Config.NodeID at the start: connection IDs begin with it
	config      atomic.Pointer[Config] // in force now; another replaces it as a whole
	admission   *admission
	connections registry
	failed      atomic.Pointer[error] // why the gateway does not listen any more; nil: it does
}

// cfg returns the configuration in force. It must not be written to.
func (s *shared) cfg() *Config { return s.config.Load() }

// Err returns why no connection can be opened any more. It is nil while one can.
func (s *shared) Err() error {
	if err := s.failed.Load(); err != nil {
		return fmt.Errorf("websocket_gateways %q stopped listening: %w", s.label, *err)
	}
	return nil
}
