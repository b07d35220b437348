// Package control is the management API: the services of the original, from its own published types, over gRPC and REST.
//
// A request passes server.go (the listener and the guard of HTTP), calls.go (who calls, what for, how it ended), access.go
// (whether they may) and validate.go (whether it can be meant), and comes to one of the services, a file each. What these
// keep is in kind.go, by credentials.go, pages.go and operations.go.
package control

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

	"connectrpc.com/vanguard/vanguardgrpc"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/endpoint"
	brokers "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/broker/v1"
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/guard"
	"github.com/iotcast/iotcast/internal/listen"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
	"github.com/iotcast/iotcast/internal/token"
)

// maxRequestBytes of a request: far above a message of 256 KiB in base64.
const maxRequestBytes = 1 << 20

// Config is the API as it is configured, and what it manages.
type Config struct {
	Address  string          // host:port to listen on
	TLS      *tls.Config     // nil: none
	Verifier *token.Verifier // of the bearer tokens; nil: callers need none, and Address is a loopback one
	Grants   access.Grants   // what callers with a token may do

	State     *state.Store
	Directory *registry.Directory // of what Restored returns
	Fixed     registry.Config     // what stands in the config file
	Broker    Broker              // nil: there is no MQTT broker in this process

	Streams         Streams         // nil: this process has none, so there are no triggers
	Launch          <-chan struct{} // closed when Streams are there; nil: they are asked from time to time
	TriggerTemplate []byte          // what the stream of a trigger is made of; nil: the usual
	BrokerURL       string          // where Broker is, for a template that names no other; empty: it cannot be reached by MQTT over TCP

	retry, connect time.Duration // of triggers, for tests; 0: the usual
}

// Check tells why the API cannot be started so.
func (c Config) Check() error {
	switch _, _, err := net.SplitHostPort(c.Address); {
	case err != nil:
		return fmt.Errorf("address: %w: write host:port, such as 127.0.0.1:4196", err)
	case c.Verifier == nil && !guard.Loopback(c.Address):
		return fmt.Errorf("address %s can be reached from other machines, and without tokens everyone could change everything: set tokens, or listen on 127.0.0.1", c.Address)
	case c.Verifier == nil && len(c.Grants) > 0:
		return errors.New("access_bindings are for callers with a token: set tokens, too")
	}
	return nil
}

// Server answers requests.
type Server struct {
	listener net.Listener
	http     *http.Server
	grpc     *grpc.Server
	served   sync.WaitGroup
	triggers *triggerStreams
}

// Start binds the address and begins to answer. Observe is told of every request: its method, such as
// RegistryService/Create, and the code of gRPC with which it ended.
func Start(cfg Config, observe func(method, code string), log *slog.Logger) (*Server, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	k := newKeeper(cfg, log)
	if err := k.streams.maker.Check(); err != nil {
		return nil, fmt.Errorf("trigger_template: %w", err)
	}
	c := &calls{verifier: cfg.Verifier, grants: cfg.Grants, directory: cfg.Directory, observe: observe, log: log}
	s := &Server{grpc: grpc.NewServer(
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.ChainUnaryInterceptor(c.intercept, validated),
		grpc.StreamInterceptor(c.interceptStream),
	)}
	register(s.grpc, k, cfg)
	handler, err := vanguardgrpc.NewTranscoder(s.grpc, restOptions()...)
	if err != nil {
		return nil, fmt.Errorf("making REST of gRPC: %w", err)
	}
	bound, err := listen.TCP(cfg.Address, nil, log)
	if err != nil {
		return nil, fmt.Errorf("address: binding %w", err)
	}
	s.listener, s.triggers = bound, k.streams
	s.triggers.start()
	if cfg.TLS != nil {
		s.listener = tls.NewListener(bound, cfg.TLS)
	}
	mux := http.NewServeMux()
	mux.Handle("/", rest(handler))
	mux.Handle(pathState, k.stateHandler(c))
	s.serve(documented(front(mux, guard.New(cfg.Address, cfg.Verifier != nil))), log)
	log.Info("Management API listening", "address", bound.Addr().String(), "tls", cfg.TLS != nil, "tokens", cfg.Verifier != nil)
	if cfg.TLS == nil && !guard.Loopback(cfg.Address) {
		log.Warn("The management API has no TLS: tokens and passwords can be read on the way, unless a proxy in front of it has")
	}
	return s, nil
}

// register tells the server of all services.
func register(s *grpc.Server, k *keeper, cfg Config) {
	devices.RegisterRegistryServiceServer(s, registryService{k: k})
	devices.RegisterDeviceServiceServer(s, deviceService{k: k})
	brokers.RegisterBrokerServiceServer(s, brokerService{k: k})
	triggers.RegisterTriggerServiceServer(s, triggerService{k: k})
	devices.RegisterRegistryDataServiceServer(s, registryDataService{broker: cfg.Broker})
	devices.RegisterDeviceDataServiceServer(s, deviceDataService{broker: cfg.Broker})
	brokers.RegisterBrokerDataServiceServer(s, brokerDataService{broker: cfg.Broker})
	operation.RegisterOperationServiceServer(s, operationService{k: k})
	endpoint.RegisterApiEndpointServiceServer(s, endpointService{})
	healthpb.RegisterHealthServer(s, health.NewServer())
	reflection.Register(s)
}

func (s *Server) serve(handler http.Handler, log *slog.Logger) {
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetHTTP2(true)
	both.SetUnencryptedHTTP2(true) // gRPC without TLS
	s.http = &http.Server{
		Handler:           handler,
		Protocols:         both,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.served.Go(func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("Management API stopped listening", "error", err)
		}
	})
}

// Addr is the address that the API listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Ready tells what is not there yet.
func (s *Server) Ready() error { return s.triggers.ready() }

// Close lets requests that are under way end, or breaks them off when ctx ends.
func (s *Server) Close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.served.Wait()
	s.grpc.Stop()
	s.triggers.close()
}
