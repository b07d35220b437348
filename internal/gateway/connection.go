package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/coder/websocket"

	"iotcast/internal/fanout"
)

// connection is one WebSocket client of a route.
type connection struct {
	id     string
	route  *Route
	ws     *websocket.Conn
	socket *socket
}

// run reads until the connection ends, as the library needs it to answer pings
// and the Close frame, and then takes the connection out of its route.
func (c *connection) run() {
	opened := time.Now()
	err := c.read()
	c.refuse(err)
	// A socket that is closed with bytes unread resets the connection, and the
	// peer loses the Close frame (RFC 6455, section 7.1.1): read until it closes,
	// or CloseTimeout is over.
	_, _ = io.Copy(io.Discard, c.socket)
	cause := c.socket.Detach()
	_ = c.ws.CloseNow()

	reason := reasonOf(cause, err)
	c.route.observer.Closed(c.route.gateway, c.route.path, reason)
	level := c.route.log.Debug
	if reason == reasonSlow {
		level = c.route.log.Warn
	}
	level("Connection closed", "connection_id", c.id, "reason", reason,
		"remote_address", c.socket.RemoteAddr().String(), "open_for", time.Since(opened).Round(time.Millisecond).String(),
		"dropped", c.socket.Dropped())
}

// read discards what the client sends, within the limits.
func (c *connection) read() error {
	ctx := context.Background() // one that cannot end: a deadline costs each read a timer
	for {
		c.socket.waitReadable()
		_, message, err := c.ws.Reader(ctx)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, message); err != nil {
			return err
		}
		c.socket.Touch()
	}
}

// refuse closes the connection for a breach of the protocol that the library
// found but did not answer, such as an unmasked frame (RFC 6455, section 5.1).
// Where the library did, or the socket is gone, it does nothing.
func (c *connection) refuse(err error) {
	if websocket.CloseStatus(err) == -1 && !lost(err) {
		c.socket.CloseWith(uint16(websocket.StatusProtocolError), errProtocol)
	}
}

var (
	errProtocol = errors.New("protocol error")
	errShutdown = errors.New("server is shutting down")
)

// The reasons for the end of a connection, as metrics and logs give them.
const (
	reasonSlow     = "slow_consumer"
	reasonIdle     = "idle_timeout"
	reasonLifetime = "max_lifetime"
	reasonNoPong   = "ping_timeout"
	reasonTooBig   = "message_too_big"
	reasonProtocol = "protocol_error"
	reasonClient   = "closed_by_client"
	reasonServer   = "closed_by_server"
	reasonLost     = "connection_lost"
)

// reasonOf names the end of a connection: cause is what this side ended it for,
// if it did, err what its reader ended with.
func reasonOf(cause, err error) string {
	switch {
	case errors.Is(err, websocket.ErrMessageTooBig):
		return reasonTooBig
	case cause == nil && websocket.CloseStatus(err) != -1:
		return reasonClient
	case errors.Is(cause, fanout.ErrSlowConsumer):
		return reasonSlow
	case errors.Is(cause, fanout.ErrIdle):
		return reasonIdle
	case errors.Is(cause, fanout.ErrLifetime):
		return reasonLifetime
	case errors.Is(cause, fanout.ErrNoPong):
		return reasonNoPong
	case errors.Is(cause, errProtocol), cause == nil && !lost(err):
		return reasonProtocol // answered by us, or by the library
	case cause == nil, errors.Is(cause, fanout.ErrLost):
		return reasonLost
	default:
		return reasonServer
	}
}

// lost reports whether a read error means that the socket is gone, rather than
// that the peer sent something wrong.
func lost(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &op)
}
