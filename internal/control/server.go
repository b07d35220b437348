// Package control is the management API: the services of the original, from its own published types, over gRPC and REST. The
// part of it that is about connections is an API of its own, too: connection_api.
//
// A request passes front.go (what no program sends), calls.go (who calls, what for, how it ended), rest.go (REST made of gRPC),
// access.go (whether they may) and validate.go (whether it can be meant), and comes to one of the services, a file each, or to
// a method of no published type, by plain.go. What the services keep is in kind.go, by credentials.go, pages.go and
// operations.go.
package control

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/vanguard/vanguardgrpc"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/endpoint"
	brokers "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/broker/v1"
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/apigateway/websocket/v1"
	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/guard"
	"github.com/iotcast/iotcast/internal/listen"
	"github.com/iotcast/iotcast/internal/overview"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
	"github.com/iotcast/iotcast/internal/tap"
	"github.com/iotcast/iotcast/internal/token"
)

// requestBytes is how much a request may have: far above a message of 256 KiB in base64, and enough for a message of
// connection_api: four characters of base64 for three bytes, each perhaps escaped, and room for the rest.
func requestBytes(maxMessageBytes int) int64 { return max(1<<20, 3*int64(maxMessageBytes)+8<<10) }

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

	Connections     connections.Directory // of this process, or of a cluster
	MaxMessageBytes int                   // that may be sent to a connection

	Streams         Streams         // nil: this process has none, so there are no triggers
	Launch          <-chan struct{} // closed when Streams are there; nil: they are asked from time to time
	TriggerTemplate []byte          // what the stream of a trigger is made of; nil: the usual
	BrokerURL       string          // where Broker is, for a template that names no other; empty: it cannot be reached by MQTT over TCP

	MaskStream func(config []byte) ([]byte, error) // replaces the secrets of a stream; nil: none is shown

	Console   http.Handler                          // the page at /; nil: there is none
	Metrics   func(context.Context) ([]byte, error) // of this process, in Prometheus' text format, for the console
	Gateways  func() map[string]overview.Gateway    // of this process, for the console; nil: it has none
	Temporary bool                                  // State ends with the process
	Tap       *tap.Tap                              // of the messages of this process; nil: there is none

	retry, connect time.Duration // of triggers, for tests; 0: the usual
}

// Check tells why the management API cannot be started so.
func (c Config) Check() error {
	if c.Verifier == nil && len(c.Grants) > 0 {
		return errors.New("access_bindings are for callers with a token: set tokens, too")
	}
	return c.checkAddress("127.0.0.1:4196", "change everything")
}

// CheckConnections tells why connection_api cannot be started so.
func (c Config) CheckConnections() error {
	if c.MaxMessageBytes < 1 {
		return errors.New("max_message_bytes must be at least 1")
	}
	return c.checkAddress("127.0.0.1:8081", "send")
}

func (c Config) checkAddress(example, harm string) error {
	switch _, _, err := net.SplitHostPort(c.Address); {
	case err != nil:
		return fmt.Errorf("address: %w: write host:port, such as %s", err, example)
	case c.Verifier == nil && !guard.Loopback(c.Address):
		return fmt.Errorf("address %s can be reached from other machines, and without tokens everyone could %s: set tokens, or listen on 127.0.0.1", c.Address, harm)
	}
	return nil
}

// Server answers requests.
type Server struct {
	listener net.Listener
	http     *http.Server
	grpc     *grpc.Server
	served   sync.WaitGroup
	triggers *triggerStreams    // nil: it has none
	overview *overview.Overview // nil: it has none
}

// Start starts the management API: it binds the address and begins to answer. Observe is told of every request: its method,
// such as RegistryService/Create, or unknown, and the code of gRPC with which it ended.
func Start(cfg Config, observe func(method, code string), log *slog.Logger) (*Server, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	c := &calls{
		name: "Management API", verifier: cfg.Verifier, grants: cfg.Grants, directory: cfg.Directory, log: log,
		observe: func(method string, code codes.Code, _ int) { observe(method, code.String()) },
	}
	k := newKeeper(cfg, log)
	if err := k.streams.maker.Check(); err != nil {
		return nil, fmt.Errorf("trigger_template: %w", err)
	}
	s, err := bind(cfg, c, func(s *grpc.Server) { register(s, k, cfg) }, plainRoutes(k, cfg), func(next http.Handler) http.Handler {
		return withConsole(documented(next, managementDocument), cfg.Console)
	})
	if err != nil {
		return nil, err
	}
	s.triggers = k.streams
	s.triggers.start()
	if cfg.Console != nil {
		k.overview = newOverview(cfg, k)
		s.overview = k.overview
	}
	s.serve(c)
	return s, nil
}

// StartConnections starts connection_api, which is of ConnectionService alone. Observe is told of every request: get, send,
// disconnect, list, broadcast or unknown, and the status of HTTP.
func StartConnections(cfg Config, observe func(method string, status int), log *slog.Logger) (*Server, error) {
	if err := cfg.CheckConnections(); err != nil {
		return nil, err
	}
	c := &calls{
		name: "Connection API", verifier: cfg.Verifier, bound: true, log: log,
		observe: func(method string, _ codes.Code, status int) {
			observe(strings.ToLower(method[strings.LastIndexByte(method, '/')+1:]), status)
		},
	}
	service := connectionsOf(cfg)
	register := func(s *grpc.Server) { registerConnections(s, service) }
	s, err := bind(cfg, c, register, service.extensions(), func(next http.Handler) http.Handler {
		return documented(anyType(next), connectionsDocument)
	})
	if err != nil {
		return nil, err
	}
	s.serve(c)
	return s, nil
}

// bind makes a server of what register registers, and of plain routes, behind what before puts before them.
func bind(cfg Config, c *calls, register func(*grpc.Server), plain []plainRoute, before func(http.Handler) http.Handler) (*Server, error) {
	limit := requestBytes(cfg.MaxMessageBytes)
	s := &Server{grpc: grpc.NewServer(
		grpc.MaxRecvMsgSize(int(limit)),
		grpc.ChainUnaryInterceptor(c.intercept, validated),
		grpc.StreamInterceptor(c.interceptStream),
	)}
	register(s.grpc)
	c.routes, c.maxBytes = routesOf(s.grpc, plain), limit
	transcoder, err := vanguardgrpc.NewTranscoder(s.grpc, restOptions()...)
	if err != nil {
		return nil, fmt.Errorf("making REST of gRPC: %w", err)
	}
	bound, err := listen.TCP(cfg.Address, nil, c.log)
	if err != nil {
		return nil, fmt.Errorf("address: binding %w", err)
	}
	s.listener = bound
	if cfg.TLS != nil {
		s.listener = tls.NewListener(bound, withHTTP2(cfg.TLS))
	}
	handler := c.rest(c.plain(c.limited(transcoder), plain))
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetHTTP2(true)
	both.SetUnencryptedHTTP2(true) // gRPC without TLS
	closing, end := context.WithCancel(context.Background())
	s.http = &http.Server{
		Handler:           before(c.known(front(handler, guard.New(cfg.Address, cfg.Verifier != nil)))),
		Protocols:         both,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      10 * time.Minute, // also of a stream, and of an import
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), closingKey{}, closing)
		},
	}
	s.http.RegisterOnShutdown(end)
	c.log.Info(c.name+" listening", "address", bound.Addr().String(), "tls", cfg.TLS != nil, "tokens", cfg.Verifier != nil)
	if cfg.TLS == nil && !guard.Loopback(cfg.Address) {
		c.log.Warn("The " + strings.ToLower(c.name[:1]) + c.name[1:] + " has no TLS: tokens and passwords can be read on the way, unless a proxy in front of it has")
	}
	return s, nil
}

// withHTTP2 lets clients choose HTTP/2 (ALPN, RFC 7301), without which there is no gRPC.
func withHTTP2(cfg *tls.Config) *tls.Config {
	secure := cfg.Clone()
	secure.NextProtos = []string{"h2", "http/1.1"}
	if follow := cfg.GetConfigForClient; follow != nil {
		secure.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			now, err := follow(hello)
			if err != nil || now == nil {
				return now, err
			}
			return withHTTP2(now), nil
		}
	}
	return secure
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
	registerConnections(s, connectionsOf(cfg))
	operation.RegisterOperationServiceServer(s, operationService{k: k})
	endpoint.RegisterApiEndpointServiceServer(s, endpointService{})
	reflection.Register(s)
}

// plainRoutes are those of the management API.
func plainRoutes(k *keeper, cfg Config) []plainRoute {
	return slices.Concat(k.stateRoutes(), connectionsOf(cfg).extensions(), consoleRoutes(k, cfg), tapRoutes(cfg), checkRoutes(k, cfg))
}

// registerConnections tells the server of what connection_api has.
func registerConnections(s *grpc.Server, service connectionService) {
	websocket.RegisterConnectionServiceServer(s, service)
	healthpb.RegisterHealthServer(s, healthService{})
}

// healthService is grpc.health.v1.Health, which needs no token. It has no Watch: streams of strangers would stay for ever.
type healthService struct {
	healthpb.UnimplementedHealthServer
}

func (healthService) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

func connectionsOf(cfg Config) connectionService {
	return connectionService{directory: cfg.Connections, maxBytes: cfg.MaxMessageBytes}
}

func (s *Server) serve(c *calls) {
	s.served.Go(func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			c.log.Error(c.name+" stopped listening", "error", err)
		}
	})
}

// Addr is the address that the API listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Ready tells what is not there yet.
func (s *Server) Ready() error { return s.triggers.ready() }

// IsTrigger reports whether a stream is that of a trigger, or the one that takes leave of the broker for it.
func (s *Server) IsTrigger(id string) bool {
	return strings.HasPrefix(id, farewellPrefix) || s.triggers.isTrigger(id)
}

// Close lets requests that are under way end, or breaks them off when ctx ends.
func (s *Server) Close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.served.Wait()
	s.grpc.Stop()
	if s.overview != nil {
		s.overview.Close()
	}
	if s.triggers != nil {
		s.triggers.close()
	}
}
