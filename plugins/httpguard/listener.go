package httpguard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"time"
	"unsafe"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/certs"
	"github.com/iotcast/iotcast/internal/listen"
	"github.com/iotcast/iotcast/internal/socketerr"
)

const (
	headerTimeout = 10 * time.Second
	// freeTimeout is for the address to become free again.
	freeTimeout  = 2 * time.Second
	freeInterval = 5 * time.Millisecond
)

// benthosAPI is the HTTP API of Benthos, with all that is registered and is yet
// to be.
type benthosAPI interface {
	Handler() http.Handler
	Shutdown(ctx context.Context) error
}

// takeOver ends the listener of Benthos' API, and returns what it has served.
//
// Benthos has no option for a middleware, and the
// resources hold their API in a field that is not exported. Without the guard
// nothing must start, so that another version of Benthos, should it keep the API
// elsewhere, is an error here.
func takeOver(res *service.Resources) (http.Handler, error) {
	unwrap := reflect.ValueOf(res.XUnwrapper()).MethodByName("Unwrap")
	if unwrap.IsValid() {
		manager := unwrap.Call(nil)[0]
		for manager.Kind() == reflect.Interface || manager.Kind() == reflect.Pointer {
			manager = manager.Elem()
		}
		if manager.Kind() == reflect.Struct {
			if field := manager.FieldByName("apiReg"); field.IsValid() && field.CanAddr() {
				exported := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
				if api, ok := exported.Interface().(benthosAPI); ok {
					ctx, cancel := context.WithTimeout(context.Background(), freeTimeout)
					defer cancel()
					_ = api.Shutdown(ctx) // what is answered by now is of no use to anyone
					return api.Handler(), nil
				}
			}
		}
	}
	return nil, errors.New("http_guard does not find the HTTP API of this version of Benthos: without the guard, anyone could run streams")
}

// listener is what http says about the socket.
type listener struct {
	enabled, basicAuth bool
	certFile, keyFile  string
}

func listenerFromConfig(conf *service.ParsedConfig) (l listener, err error) {
	var errs [4]error
	l.enabled, errs[0] = conf.FieldBool(fieldEnabled)
	l.basicAuth, errs[1] = conf.FieldBool(fieldBasicAuth, fieldEnabled)
	l.certFile, errs[2] = conf.FieldString(fieldCertFile)
	l.keyFile, errs[3] = conf.FieldString(fieldKeyFile)
	return l, errors.Join(errs[:]...)
}

// serve listens instead of Benthos.
func (l listener) serve(address string, handler http.Handler, log *slog.Logger) (stop func(context.Context), err error) {
	bound, err := bind(address, log)
	if err != nil {
		return nil, fmt.Errorf("http.address: binding %w: set another, such as 127.0.0.1:4196", err)
	}
	var socket net.Listener = bound
	if l.certFile != "" {
		config, err := certs.Config{CertFile: l.certFile, KeyFile: l.keyFile, MinVersion: tls.VersionTLS12}.Server(log)
		if err != nil {
			_ = socket.Close()
			return nil, fmt.Errorf("http: %w", err)
		}
		socket = tls.NewListener(socket, config)
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		if err := server.Serve(socket); !errors.Is(err, http.ErrServerClosed) {
			log.Error("The HTTP API has failed", "error", err)
		}
	}()
	return func(ctx context.Context) {
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}, nil
}

// bind waits for Benthos, which may have been just about to listen.
func bind(address string, log *slog.Logger) (*listen.Listener, error) {
	ctx, cancel := context.WithTimeout(context.Background(), freeTimeout)
	defer cancel()
	for {
		socket, err := listen.TCP(address, nil, log)
		if err == nil || !socketerr.IsInUse(err) {
			return socket, err
		}
		select {
		case <-time.After(freeInterval):
		case <-ctx.Done():
			return nil, err
		}
	}
}
