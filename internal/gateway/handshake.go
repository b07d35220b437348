package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/google/uuid"

	"iotcast/internal/fanout"
)

// headerConnectionID tells a client its connection ID, in the answer to the
// handshake. The name is the original service's, so that its clients work.
const headerConnectionID = "X-Yc-Apigateway-Websocket-Connection-Id"

// newConnectionID returns a UUIDv7: unique, and in the order of connecting.
func newConnectionID() string { return uuid.Must(uuid.NewV7()).String() }

// upgrade stands between websocket.Accept and net/http. It hands the library a
// socket that is already a connection of the hub, with buffers as small as they
// can be, and sends the answer to the handshake through that connection: so no
// message can be missed between the answer and the first broadcast.
type upgrade struct {
	http.ResponseWriter
	hub    *fanout.Hub
	status int
	socket *socket
}

// peer is what the library keeps of us for as long as the connection lives. It
// must not lead back to the upgrade, which leads to the request and to the
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
func (u *upgrade) WriteHeader(status int) {
	u.status = status
	if status != http.StatusSwitchingProtocols {
		// What Accept has set for a handshake that did not come about.
		u.Header().Del(headerConnectionID)
		u.ResponseWriter.WriteHeader(status)
	}
}

// Hijack implements http.Hijacker.
func (u *upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	// A client may send frames right behind its request.
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	// The library has negotiated permessage-deflate (RFC 7692) if it says so.
	compressed := u.Header().Get("Sec-Websocket-Extensions") != ""
	u.socket = &socket{Conn: u.hub.Attach(nc, u.answer(), compressed), early: bytes.Clone(early)}
	u.socket.in = bufio.NewReaderSize(u.socket, readBuffer)
	return u.socket, bufio.NewReadWriter(u.socket.in, bufio.NewWriterSize(u.socket, writeBuffer)), nil
}

// answer is the 101 with its headers.
func (u *upgrade) answer() []byte {
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
	early []byte
	in    *bufio.Reader // the library's
}

// Read implements io.Reader.
func (s *socket) Read(p []byte) (int, error) {
	if len(s.early) > 0 {
		n := copy(p, s.early)
		s.early = s.early[n:]
		return n, nil
	}
	return s.Conn.Read(p)
}

// waitReadable returns when a read will not block. Until then it holds no
// buffer and a small stack, which is what an idle connection costs.
func (s *socket) waitReadable() {
	if len(s.early) == 0 && s.in.Buffered() == 0 {
		s.WaitReadable()
	}
}
