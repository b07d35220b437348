package gateway

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/listen"
)

// front is where a gateway accepts connections: a socket, and the HTTP server that has
// its turn on it. Some settings must be known to net/http and TLS from the start. To
// change one of them takes another front.
type front struct {
	listener *listen.Listener
	turn     *listen.Turn
	server   *http.Server
	served   sync.WaitGroup // until the server accepts no more
	leaving  atomic.Bool    // it is meant to accept no more
}

// frontConfig are the settings of which a change takes another front.
type frontConfig struct {
	address string
	tls     *tls.Config
	timeout time.Duration
	headers int
}

func (cfg *Config) front() frontConfig {
	return frontConfig{cfg.Address, cfg.TLS, cfg.Admission.HandshakeTimeout, cfg.Admission.MaxHeaderBytes}
}

// bind binds a gateway's address. Keep-alive is for the hub to switch on.
func bind(cfg *Config, log *slog.Logger) (*listen.Listener, error) {
	return listen.TCP(cfg.Address, &net.ListenConfig{KeepAlive: -1}, log.With("gateway", cfg.Label))
}

// newFront begins to accept connections. It calls failed when it cannot any more, though
// nobody wanted it to stop.
func newFront(cfg *Config, l *listen.Listener, handler http.Handler, failed func(error), log *slog.Logger) *front {
	f := &front{listener: l, turn: l.Turn()}
	f.server = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: cfg.Admission.HandshakeTimeout,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    cfg.Admission.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Protocols:         http1(),
	}
	if d := cfg.Admission.HandshakeTimeout; d > 0 {
		// They are against clients that send a body slowly, or do not read the page. A
		// handshake has no body, and an open connection has limits of its own.
		f.server.ReadTimeout, f.server.WriteTimeout = 2*d, 2*d
	}
	var accepted net.Listener = f.turn
	if cfg.TLS != nil {
		accepted = tls.NewListener(fanout.ForTLS(f.turn), cfg.TLS)
	}
	f.served.Go(func() {
		if err := f.server.Serve(accepted); !f.leaving.Load() {
			failed(err)
		}
	})
	return f
}

// http1 allows HTTP/1 alone. Over TLS browsers would choose HTTP/2, in which a WebSocket
// has another handshake (RFC 8441).
func http1() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	return p
}

// leave stops accepting, and leaves the socket to another front.
func (f *front) leave() {
	f.leaving.Store(true)
	_ = f.turn.Close()
	f.served.Wait()
}

// close stops accepting, for good.
func (f *front) close() {
	f.leaving.Store(true)
	_ = f.listener.Close()
	f.served.Wait()
}

// end waits for the requests that are under way, and breaks them off when ctx ends.
func (f *front) end(ctx context.Context) {
	if f.server.Shutdown(ctx) != nil {
		_ = f.server.Close()
	}
}
