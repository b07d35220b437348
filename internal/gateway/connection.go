package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"time"
	"unique"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/token"
)

// Connection is one WebSocket client of a route. Thousands of them rest at a
// time: what can be shared or found out is not kept.
type Connection struct {
	id     uuid.UUID
	route  *Route
	ws     *websocket.Conn // of run alone
	socket *socket
	ip     netip.Addr
	agent  unique.Handle[identity]
	claims token.Claims // only where a handler may ask
}

// identity is what many clients have in common.
type identity struct{ userAgent, subprotocol string }

// ID is the connection's ID, unique among those of all processes.
func (c *Connection) ID() string { return c.route.gateway.connectionID(c.id) }

// Info is what is known of the connection.
func (c *Connection) Info() Info {
	who := c.agent.Value()
	return Info{
		ID: c.ID(), Gateway: c.route.gateway.Label(), Path: c.route.Path,
		SourceIP: c.ip.String(), UserAgent: who.userAgent, Subprotocol: who.subprotocol,
		ConnectedAt: c.socket.Opened().UTC(), LastActiveAt: c.socket.Active().UTC(),
		Claims: c.claims,
	}
}

// Send queues a message for this connection alone. It fails when the connection
// is closing.
func (c *Connection) Send(text bool, data []byte) error {
	op := fanout.Binary
	if text {
		op = fanout.Text
	}
	return c.socket.Send(op, data)
}

// Disconnect closes the connection with 1000 and the reason.
func (c *Connection) Disconnect(reason string) {
	err := errDisconnect
	if reason != "" {
		err = disconnected(reason)
	}
	c.socket.CloseWith(uint16(websocket.StatusNormalClosure), err)
}

// disconnected is errDisconnect with a reason for the client.
type disconnected string

func (d disconnected) Error() string        { return string(d) }
func (d disconnected) Is(target error) bool { return target == errDisconnect }

// run reads what there is, as the library needs it to answer pings and the Close
// frame. Then it leaves the connection to rest, and is called again; or the
// connection has ended, and it takes it out of its route.
func (c *Connection) run() {
	err := c.read()
	if err == nil {
		return
	}
	c.refuse(err)
	// A socket that is closed with bytes unread resets the connection, and the
	// peer loses the Close frame (RFC 6455, section 7.1.1): read until it closes,
	// or CloseTimeout is over.
	_, _ = io.Copy(io.Discard, c.socket.Conn)
	cause := c.socket.Detach()
	_ = c.ws.CloseNow()
	c.route.ended(c, endOf(cause, err))
}

// read takes what the client sends, within the limits. It returns nil once the
// connection rests.
func (c *Connection) read() error {
	ctx := context.Background() // one that cannot end: a deadline costs each read a timer
	for {
		c.socket.waitReadable()
		kind, r, err := c.ws.Reader(ctx)
		if err != nil {
			return err
		}
		if err := c.take(kind == websocket.MessageText, r); err != nil {
			return err
		}
		c.socket.Touch()
		if c.socket.rest() {
			return nil
		}
	}
}

// take reads one message, and hands it to the handler if there is one.
func (c *Connection) take(text bool, r io.Reader) error {
	var guard textGuard
	var data bytes.Buffer
	to := io.Discard
	if c.route.Handlers.Message != nil {
		to = &data
	}
	if text {
		r = io.TeeReader(r, &guard)
	}
	n, err := io.Copy(to, r)
	if err != nil {
		return err
	}
	if c.socket.ended {
		return io.ErrUnexpectedEOF // to the library, a message that breaks off between two frames has ended
	}
	if err := guard.end(); err != nil {
		return err
	}
	c.route.observer.Received(int(n))
	if c.route.Handlers.Message != nil {
		c.route.handle(c, Message{Text: text, Data: data.Bytes()})
	}
	return nil
}

// refuse closes the connection for a breach of the protocol that the library did
// not answer: one that we found, or an unmasked frame (RFC 6455, section 5.1).
// Where the library did answer, or the socket is gone, it does nothing.
func (c *Connection) refuse(err error) {
	switch {
	case errors.Is(err, errFrameSize):
		c.socket.CloseWith(uint16(websocket.StatusMessageTooBig), errFrameSize)
	case errors.Is(err, errUTF8):
		c.socket.CloseWith(uint16(websocket.StatusInvalidFramePayloadData), errUTF8)
	case websocket.CloseStatus(err) == -1 && !lost(err):
		c.socket.CloseWith(uint16(websocket.StatusProtocolError), errProtocol)
	}
}

// openFor is how long the connection has been open.
func (c *Connection) openFor() time.Duration {
	return time.Since(c.socket.Opened()).Round(time.Millisecond)
}
