package gateway

import (
	"errors"
	"net/netip"
	"time"
	"unique"

	"github.com/google/uuid"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/token"
)

// Connection is one client of a route, by WebSocket or by server-sent events. There are
// thousands at a time, and most are idle. So it keeps nothing that it can share with
// others, or find out when somebody asks.
type Connection struct {
	id    uuid.UUID
	home  home // its route
	conn  *fanout.Conn
	ip    netip.Addr
	agent unique.Handle[identity]
	token *credential   // nil: it has none, and may get everything
	pace  time.Duration // it gets at most one message of a device in this time; 0: all
}

// credential is what is kept of a connection's token, and of the Connect handler's answer.
type credential struct {
	subject string
	claims  token.Claims   // nil: no handler asks for them
	within  *fanout.Choice // what it may get; nil: everything
}

// claims returns those of the token, if there is one, and if handlers ask for them.
func (c *Connection) claims() token.Claims {
	if c.token == nil {
		return nil
	}
	return c.token.claims
}

// within returns what the connection may get; nil: everything.
func (c *Connection) within() *fanout.Choice {
	if c.token == nil {
		return nil
	}
	return c.token.within
}

// Message is a message from or to one client.
type Message struct {
	ID   string // a UUID, if it is from a client; that of a later message is greater, as text
	Text bool   // false: binary
	Data []byte
}

// Info is what is known of a connection.
type Info struct {
	ID, Gateway, Path, SourceIP, UserAgent, Subprotocol string

	ConnectedAt, LastActiveAt time.Time

	Claims             token.Claims // of its token
	CertificateSubject string       // of the client's certificate, where TLS asks for one; known in a Request only
}

// home is what a connection needs of its route.
type home interface {
	// describe sets what all connections of the route have in common, and the ID by
	// which this one is known outside.
	describe(info *Info, id uuid.UUID)
	// handle takes a message of the client.
	handle(c *Connection, m Message)
	// ended is called when the connection has ended, after the last handle.
	ended(c *Connection, e End)
}

// identity is what many clients have in common: it is kept once for all of them.
type identity struct{ userAgent, subprotocol string }

// ID returns the connection's ID, which is unique among those of all processes.
func (c *Connection) ID() string {
	var i Info
	c.home.describe(&i, c.id)
	return i.ID
}

// Info returns what is known of the connection.
func (c *Connection) Info() Info {
	who := c.agent.Value()
	i := Info{
		SourceIP: c.ip.String(), UserAgent: who.userAgent, Subprotocol: who.subprotocol,
		ConnectedAt: c.conn.Opened().UTC(), LastActiveAt: c.conn.Active().UTC(),
		Claims: c.claims(),
	}
	c.home.describe(&i, c.id)
	return i
}

// Details are what is found out about a connection only when somebody asks.
type Details struct {
	Subject     string   // of its token; empty: it has none
	Watch       *Watched // what it has chosen to get
	QueuedBytes int64    // what waits for its client to read
	Dropped     uint64   // messages that it did not get, since its client was slow
	Events      bool     // it gets server-sent events, and has no WebSocket
}

// Watched is what a connection has chosen to get. A nil pointer means everything, two
// empty lists mean nothing.
type Watched struct{ DeviceIDs, Topics []string }

// Details returns the details of the connection, as they are now.
func (c *Connection) Details() Details {
	now := c.conn.State()
	d := Details{QueuedBytes: now.Waiting, Dropped: now.Dropped, Events: now.Events}
	if c.token != nil {
		d.Subject = c.token.subject
	}
	choice := now.Choice
	if choice != nil && choice.All {
		choice = choice.Within
	}
	if choice != nil {
		d.Watch = &Watched{choice.Keys, choice.Filters}
	}
	return d
}

// Send queues a message for this connection alone. It fails when the connection
// is closing.
func (c *Connection) Send(text bool, data []byte) error {
	op := fanout.Binary
	if text {
		op = fanout.Text
	}
	return c.conn.Send(op, data)
}

// errDisconnect is the cause of the end of a connection that Disconnect has closed.
var errDisconnect = errors.New("disconnected")

// Disconnect closes the connection with 1000 (RFC 6455, section 7.4.1).
func (c *Connection) Disconnect() { c.conn.CloseWith(normalClosure, errDisconnect) }

// peer is the connection as its hub sees it.
type peer Connection

// Message implements fanout.Peer.
func (p *peer) Message(op fanout.Opcode, data []byte) {
	c := (*Connection)(p)
	c.home.handle(c, Message{Text: op == fanout.Text, Data: data})
}

// Ended implements fanout.Peer.
func (p *peer) Ended(cause error) {
	c := (*Connection)(p)
	c.home.ended(c, endOf(cause))
}
