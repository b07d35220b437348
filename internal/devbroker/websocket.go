package devbroker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

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
	upgrader := &websocket.Upgrader{
		Subprotocols:     []string{"mqtt"}, // [MQTT-6.0.0-4]
		HandshakeTimeout: connectTimeout,
		CheckOrigin:      func(r *http.Request) bool { return origin.Allowed(r, cfg.AllowedOrigins) },
	}
	mux := http.NewServeMux()
	mux.HandleFunc(cfg.Path, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != cfg.Path {
			http.NotFound(w, r)
			return
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the upgrader has answered
		}
		c := &webSocketConn{Conn: ws.NetConn(), ws: ws}
		if r.TLS != nil {
			c.tls = *r.TLS
		}
		select {
		case l.conns <- c:
		case <-l.closed:
			_ = ws.Close()
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

// webSocketConn makes a stream of the binary messages of a WebSocket connection: MQTT packets need not be aligned with them
// [MQTT-6.0.0-2].
type webSocketConn struct {
	net.Conn // below the WebSocket protocol
	ws       *websocket.Conn
	tls      tls.ConnectionState
	message  io.Reader // the rest of the message that is being read

	mu     sync.Mutex
	cutOff *time.Timer // see SetWriteDeadline
}

// Read implements net.Conn.
func (c *webSocketConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			kind, message, err := c.ws.NextReader()
			var closed *websocket.CloseError
			switch {
			case errors.As(err, &closed):
				return 0, io.EOF
			case err != nil:
				return 0, err
			case kind != websocket.BinaryMessage: // [MQTT-6.0.0-1]
				return 0, fmt.Errorf("a WebSocket message of type %d: MQTT goes in binary messages", kind)
			}
			c.message = message
		}
		n, err := c.message.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		c.message = nil
		if n > 0 {
			return n, nil
		}
	}
}

// Write implements net.Conn.
func (c *webSocketConn) Write(p []byte) (int, error) {
	if err := c.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetReadDeadline implements net.Conn.
func (c *webSocketConn) SetReadDeadline(t time.Time) error { return c.ws.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn. It comes when the connection is to end, from another goroutine than Write, for which
// the library has no way: so at the deadline the connection is cut off.
func (c *webSocketConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cutOff == nil {
		c.cutOff = time.AfterFunc(time.Until(t), func() { _ = c.Conn.Close() })
	}
	return nil
}

// Close implements net.Conn.
func (c *webSocketConn) Close() error {
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(farewell))
	c.mu.Lock()
	if c.cutOff != nil {
		c.cutOff.Stop()
	}
	c.mu.Unlock()
	return c.ws.Close()
}
