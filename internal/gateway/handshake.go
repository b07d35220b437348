package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/fanout"
)

// headerConnectionID tells a client its connection ID, in the answer to the
// handshake. The name is the original service's, so that its clients work.
const headerConnectionID = "X-Yc-Apigateway-Websocket-Connection-Id"

// upgrade answers the handshake of a visitor who may connect, and makes c the
// connection that it opens. Nothing else in this package upgrades.
func upgrade(w http.ResponseWriter, v *verdict, c *Connection) *refusal {
	r := v.route
	w.Header().Set(headerConnectionID, c.ID())
	up, peer := &upgrader{ResponseWriter: w, visitor: v.visitor, conn: c}, new(peer)
	options := &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the origin: authorise has checked it
		OnPingReceived:     peer.pinged,
		CompressionMode:    websocket.CompressionDisabled,
	}
	if v.info.Subprotocol != "" {
		options.Subprotocols = []string{v.info.Subprotocol}
	}
	if r.Compression {
		options.CompressionMode = websocket.CompressionNoContextTakeover
	}
	ws, err := websocket.Accept(up, v.req, options)
	if err != nil {
		r.log.Debug("Handshake failed", "source_ip", v.info.SourceIP, "error", err)
		return &refusal{up.status, "handshake", ""}
	}
	peer.conn = c.socket.Conn // nothing is read before run
	ws.SetReadLimit(r.Limits.MaxMessageBytes)
	c.ws = ws
	return nil
}

// upgrader stands between websocket.Accept and net/http. It hands the library a
// socket that is already a connection of the hub, with buffers as small as they
// can be, and sends the answer to the handshake through that connection: so no
// message can be missed between the answer and the first broadcast.
type upgrader struct {
	http.ResponseWriter
	visitor *visitor
	conn    *Connection
	status  int
}

// peer is what the library keeps of us for as long as the connection lives. It
// must not lead back to the upgrader, which leads to the request and to the
// buffers of net/http: 9 KiB a connection.
type peer struct{ conn *fanout.Conn }

// pinged is called for each ping from the client; a ping counts against the idle
// timeout. True lets the library answer.
func (p *peer) pinged(context.Context, []byte) bool {
	p.conn.Touch()
	return true
}

// The library never writes data frames for us, so its writer needs room for one
// control frame only (RFC 6455, section 5.5), which thus reaches the socket
// whole. Its reader is on the way of the rare inbound frame; bufio's minimum
// does.
const (
	readBuffer  = 16
	writeBuffer = 2 + 125
)

// WriteHeader holds the 101 back: Hijack sends it.
func (u *upgrader) WriteHeader(status int) {
	u.status = status
	if status != http.StatusSwitchingProtocols {
		// What stands there for a handshake that did not come about.
		u.Header().Del(headerConnectionID)
		u.ResponseWriter.WriteHeader(status)
	}
}

// Hijack implements http.Hijacker.
func (u *upgrader) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	// A client may send frames right behind its request.
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	s := &socket{early: bytes.Clone(early), maxFrame: uint64(u.visitor.route.Limits.MaxFrameBytes)}
	s.in = bufio.NewReaderSize(s, readBuffer)
	u.visitor.route.hub.Attach(nc, fanout.Client{
		Prelude: u.answer(),
		// The library has negotiated permessage-deflate (RFC 7692) if it says so.
		Compressed: u.Header().Get("Sec-Websocket-Extensions") != "",
		ResumeFrom: u.visitor.resumeFrom,
		Attached: func(conn *fanout.Conn) {
			s.Conn = conn
			u.conn.socket = s
			u.visitor.route.gateway.connections.add(u.conn)
		},
		Readable: u.conn.run,
	})
	return s, bufio.NewReadWriter(s.in, bufio.NewWriterSize(s, writeBuffer)), nil
}

// answer is the 101 with its headers.
func (u *upgrader) answer() []byte {
	var b bytes.Buffer
	b.Grow(512)
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", u.status, http.StatusText(u.status))
	_ = u.Header().Write(&b) // into memory
	b.WriteString("\r\n")
	return b.Bytes()
}

// socket is what the library reads from: first the bytes that net/http had read
// already.
type socket struct {
	*fanout.Conn
	early    []byte
	in       *bufio.Reader // the library's
	ended    bool          // nothing more can be read
	maxFrame uint64
	frames   frameGuard
}

// Read implements io.Reader. It fails with errFrameSize at a frame that is too
// large.
func (s *socket) Read(p []byte) (n int, err error) {
	if len(s.early) > 0 {
		n = copy(p, s.early)
		s.early = s.early[n:]
	} else {
		if n, err = s.Conn.Read(p); n > 0 {
			err = nil // TLS gives both; it comes again
		}
		s.ended = err != nil
	}
	if s.maxFrame > 0 && s.frames.pass(p[:n]) > s.maxFrame {
		return 0, errFrameSize
	}
	return n, err
}

// rest returns true when there is nothing to read, and run will be called when
// there is.
func (s *socket) rest() bool { return s.empty() && s.Rest() }

// waitReadable returns when a read will not block. Until then it holds no
// buffer and a small stack.
func (s *socket) waitReadable() {
	if s.empty() {
		s.WaitReadable()
	}
}

// empty: all that has come was read by the library.
func (s *socket) empty() bool { return len(s.early) == 0 && s.in.Buffered() == 0 }
