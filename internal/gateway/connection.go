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

// Connection is one WebSocket client of a route. Thousands of them rest at a
// time: what can be shared or found out is not kept.
type Connection struct {
	id    uuid.UUID
	home  home
	conn  *fanout.Conn
	ip    netip.Addr
	agent unique.Handle[identity]
	token *credential   // nil: it has none, and may get everything
	pace  time.Duration // one message of a device in that time; 0: all
}

// credential is what is kept of the token of a connection, or of what the Connect handler has said of it.
type credential struct {
	subject string
	claims  token.Claims   // nil: no handler asks for them
	within  *fanout.Choice // what it may get; nil: everything
}

// claims are those of the token, where handlers ask for them.
func (c *Connection) claims() token.Claims {
	if c.token == nil {
		return nil
	}
	return c.token.claims
}

// within is what the connection may get; nil: everything.
func (c *Connection) within() *fanout.Choice {
	if c.token == nil {
		return nil
	}
	return c.token.within
}

// Message is a message from or to one client.
type Message struct {
	ID   string // of one from a client; later ones are greater, as text
	Text bool   // or else binary
	Data []byte
}

// Info is what is known of a connection.
type Info struct {
	ID, Gateway, Path, SourceIP, UserAgent, Subprotocol string

	ConnectedAt, LastActiveAt time.Time

	Claims             token.Claims // of its token
	CertificateSubject string       // of the client's certificate, where TLS asks for one; of a Request only
}

// home is what a connection must know of its route.
type home interface {
	// describe fills in what all connections of the route have in common, and its ID
	// as it is called outside.
	describe(info *Info, id uuid.UUID)
	// handle takes a message of the connection.
	handle(c *Connection, m Message)
	// ended takes the end of the connection. It comes last.
	ended(c *Connection, e End)
}

// identity is what many clients have in common.
type identity struct{ userAgent, subprotocol string }

// ID is the connection's ID, unique among those of all processes.
func (c *Connection) ID() string {
	var i Info
	c.home.describe(&i, c.id)
	return i.ID
}

// Info is what is known of the connection.
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

// Details are what is found out of a connection only when somebody asks.
type Details struct {
	Subject     string // of its token; empty: it has none
	Watch       *Watched
	QueuedBytes int64  // that wait until its client reads
	Dropped     uint64 // messages that it did not get, since its client was slow
	Events      bool   // it gets server-sent events, and is no WebSocket
}

// Watched is what a connection has chosen to get. Nil is everything; two empty lists are nothing.
type Watched struct{ DeviceIDs, Topics []string }

// Details are those of the connection, as it is now.
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

// errDisconnect is the cause when somebody of this side closed a connection.
var errDisconnect = errors.New("disconnected")

// Disconnect closes the connection with 1000.
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
