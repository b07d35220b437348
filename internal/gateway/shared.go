package gateway

import (
	"fmt"
	"sync/atomic"
)

// shared is what the routes of a gateway have in common.
type shared struct {
	label       string
	node        string                 // Config.NodeID of the beginning: it is part of what connections are called
	config      atomic.Pointer[Config] // in force now; never written to
	admission   *admission
	connections registry
	failed      atomic.Pointer[error] // why the gateway does not listen any more
}

// cfg is what is in force now.
func (s *shared) cfg() *Config { return s.config.Load() }

// Err is why no connection can be opened any more, nil while one can.
func (s *shared) Err() error {
	if err := s.failed.Load(); err != nil {
		return fmt.Errorf("websocket_gateways %q stopped listening: %w", s.label, *err)
	}
	return nil
}
