package devbroker

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/origin"
)

// webSocketListener accepts MQTT connections over WebSocket (MQTT 3.1.1 section 6).
type webSocketListener struct {
	net.Listener
	server *http.Server
	conns  chan net.Conn
	closed chan struct{}
	close  func() error
	served sync.WaitGroup
}

// newWebSocketListener serves HTTP on ln, which is of TLS or not.
func newWebSocketListener(ln net.Listener, cfg WebSocket) *webSocketListener {
	l := &webSocketListener{Listener: ln, conns: make(chan net.Conn), closed: make(chan struct{})}
	accept := &websocket.AcceptOptions{
		Subprotocols:       []string{"mqtt"}, // [MQTT-6.0.0-4]
		InsecureSkipVerify: true,             // the origin, which origin.Allowed has checked
	}
	mux := http.NewServeMux()
	mux.HandleFunc(cfg.Path, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != cfg.Path {
			http.NotFound(w, r)
			return
		}
		if !origin.Allowed(r, cfg.AllowedOrigins) {
			http.Error(w, "pages of this origin may not connect", http.StatusForbidden)
			return
		}
		h := &hijacker{ResponseWriter: w}
		ws, err := websocket.Accept(h, r, accept)
		if err != nil {
			return // the library has answered
		}
		c := &webSocketConn{Conn: websocket.NetConn(context.Background(), ws, websocket.MessageBinary), below: h.conn}
		if r.TLS != nil {
			c.tls = *r.TLS
		}
		select {
		case l.conns <- c:
		case <-l.closed:
			_ = ws.CloseNow()
		}
	})
	l.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: connectTimeout,
		ErrorLog:          log.New(io.Discard, "", 0), // port scans
	}
	l.close = sync.OnceValue(func() error {
		close(l.closed)
		err := l.server.Close()
		l.served.Wait()
		return err
	})
	l.served.Go(func() { _ = l.server.Serve(ln) })
	return l
}

// Accept implements net.Listener.
func (l *webSocketListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *webSocketListener) Close() error { return l.close() }

// hijacker keeps the connection that the library takes over.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = conn
	return conn, buffered, err
}

// webSocketConn is the stream of the binary messages of a WebSocket connection [MQTT-6.0.0-1]: MQTT packets need not be
// aligned with them [MQTT-6.0.0-2]. Deadlines are those of the connection below: the library's own close it, and there would
// be no goodbye.
type webSocketConn struct {
	net.Conn
	below net.Conn
	tls   tls.ConnectionState
}

// SetDeadline implements net.Conn.
func (c *webSocketConn) SetDeadline(t time.Time) error { return c.below.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *webSocketConn) SetReadDeadline(t time.Time) error { return c.below.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *webSocketConn) SetWriteDeadline(t time.Time) error { return c.below.SetWriteDeadline(t) }
