package gateway

import (
	"fmt"
	"sync/atomic"
)

// shared is what the routes of a gateway have in common.
type shared struct {
	cfg         Config
	admission   *admission
	connections registry
	failed      atomic.Pointer[error] // why the gateway does not listen any more
}

// Err is why no connection can be opened any more, nil while one can.
func (s *shared) Err() error {
	if err := s.failed.Load(); err != nil {
		return fmt.Errorf("websocket_gateways %q stopped listening: %w", s.cfg.Label, *err)
	}
	return nil
}
