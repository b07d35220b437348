package connectionapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/iotcast/iotcast/internal/listen"
	"github.com/iotcast/iotcast/internal/token"
)

// Config is the API as it is configured.
type Config struct {
	Address         string          // host:port to listen on
	TLS             *tls.Config     // nil: none
	Verifier        *token.Verifier // of the bearer tokens; nil: callers need none, and Address is a loopback one
	MaxMessageBytes int             // that may be sent or broadcast
}

// Check tells why the API cannot be started so.
func (c Config) Check() error {
	host, _, err := net.SplitHostPort(c.Address)
	switch {
	case err != nil:
		return fmt.Errorf("address: %w: write host:port, such as 127.0.0.1:8081", err)
	case c.Verifier == nil && !isLoopback(host):
		return fmt.Errorf("address %s can be reached from other machines, and without tokens everyone could send: set tokens, or listen on 127.0.0.1", c.Address)
	case c.MaxMessageBytes < 1:
		return errors.New("max_message_bytes must be at least 1")
	}
	return nil
}

// Server listens for requests.
type Server struct {
	listener net.Listener
	server   *http.Server
	served   sync.WaitGroup
}

// Start binds the address and begins to answer. Observe is told of every request:
// the method of the API, or "unknown", and the HTTP status.
func Start(cfg Config, d Directory, observe func(method string, status int), log *slog.Logger) (*Server, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	bound, err := listen.TCP(cfg.Address, nil, log)
	if err != nil {
		return nil, fmt.Errorf("binding %w", err)
	}
	var l net.Listener = bound
	s := &Server{listener: l}
	s.server = &http.Server{
		Handler:           &api{directory: d, verifier: cfg.Verifier, maxMessageBytes: cfg.MaxMessageBytes, observe: observe, log: log},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	if cfg.TLS != nil {
		l = tls.NewListener(l, cfg.TLS)
	}
	s.served.Go(func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("Connection API stopped listening", "error", err)
		}
	})
	log.Info("Connection API listening", "address", s.Addr().String(), "tls", cfg.TLS != nil, "tokens", cfg.Verifier != nil)
	if host, _, _ := net.SplitHostPort(cfg.Address); cfg.TLS == nil && !isLoopback(host) {
		log.Warn("The connection API has no TLS: tokens can be read on the way, unless a proxy in front of it has")
	}
	return s, nil
}

// Addr is the address that the API listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close lets requests that are under way end, or breaks them off when ctx ends.
func (s *Server) Close(ctx context.Context) {
	if s.server.Shutdown(ctx) != nil {
		_ = s.server.Close()
	}
	s.served.Wait()
}
