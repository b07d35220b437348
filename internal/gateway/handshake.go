package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/fanout"
)

// headerConnectionID tells a client its connection ID, in the answer to the
// handshake. The name is the original service's, so that its clients work.
const headerConnectionID = "X-Yc-Apigateway-Websocket-Connection-Id"

// door is where a visitor becomes a connection.
type door struct {
	hub         *fanout.Hub
	compression bool          // is offered
	client      fanout.Client // what is known of it before the handshake
}

// upgrade answers the handshake of a visitor who may connect, with the id of the
// connection that it opens. Nothing else in this package upgrades.
func upgrade(w http.ResponseWriter, v *verdict, id string, to door) *refusal {
	w.Header().Set(headerConnectionID, id)
	up := &upgrader{ResponseWriter: w, door: to, req: v.req}
	options := &websocket.AcceptOptions{
		InsecureSkipVerify: true,                          // the origin: authorise has checked it
		CompressionMode:    websocket.CompressionDisabled, // negotiate does it
	}
	if v.info.Subprotocol != "" {
		options.Subprotocols = []string{v.info.Subprotocol}
	}
	ws, err := websocket.Accept(up, v.req, options)
	if up.noSocket != nil {
		for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Accept", "Sec-Websocket-Protocol", headerConnectionID} {
			w.Header().Del(name)
		}
		return v.withoutSocket(up.noSocket)
	}
	if err != nil {
		v.guard.log.Debug("Handshake failed", "source_ip", v.info.SourceIP, "error", err)
		return &refusal{up.status, "handshake", ""}
	}
	// It has no socket, but a finalizer: left alone it would weigh 3 KiB a connection
	// until the collector has come twice, which takes long where nothing happens.
	_ = ws.CloseNow()
	return nil
}

// withoutSocket refuses a visitor whose socket the server keeps: it is none of net/http's own, or a middleware stands before it
// that hides what it can do.
func (v *visitor) withoutSocket(err error) *refusal {
	v.guard.log.Error("No connection can be opened, since the server does not give up the socket: a middleware that wraps http.ResponseWriter needs a method Unwrap", "source_ip", v.info.SourceIP, "error", err)
	return &refusal{http.StatusInternalServerError, "handshake", "the server does not give up the socket of the request: a middleware that wraps http.ResponseWriter needs a method Unwrap"}
}

// upgrader stands between websocket.Accept, which checks the handshake and makes
// the answer, and net/http. It makes the socket a connection of the hub before the
// answer goes out, and sends the answer through that connection: so no message can
// be missed between the answer and the first broadcast.
type upgrader struct {
	http.ResponseWriter
	door
	req      *http.Request
	status   int
	noSocket error // why the server did not give it up; what the library then answers goes nowhere
}

// WriteHeader holds the 101 back: Hijack sends it.
func (u *upgrader) WriteHeader(status int) {
	if u.noSocket != nil {
		return
	}
	u.status = status
	if status != http.StatusSwitchingProtocols {
		// What stands there for a handshake that did not come about.
		u.Header().Del(headerConnectionID)
		share(u.Header(), u.req) // authorise has checked the origin
		u.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (u *upgrader) Write(p []byte) (int, error) {
	if u.noSocket != nil {
		return len(p), nil
	}
	return u.ResponseWriter.Write(p)
}

// Hijack implements http.Hijacker. The library gets a socket that is closed.
func (u *upgrader) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, buffered, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		u.noSocket = err
		return nil, nil, err
	}
	// A client may send frames right behind its request.
	u.client.Early, _ = buffered.Reader.Peek(buffered.Reader.Buffered())
	u.client.Compressed = u.negotiate()
	u.client.Prelude = u.answer()
	u.hub.Attach(nc, u.client)
	return closed{}, bufio.NewReadWriter(bufio.NewReaderSize(closed{}, 0), bufio.NewWriterSize(closed{}, 0)), nil
}

// negotiate decides on compression, and puts it into the answer.
func (u *upgrader) negotiate() bool {
	if !u.compression {
		return false
	}
	answer := deflateAnswer(u.req.Header)
	if answer != "" {
		u.Header().Set("Sec-Websocket-Extensions", answer)
	}
	return answer != ""
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

// closed is a socket that is closed.
type closed struct{ net.Conn }

func (closed) Read([]byte) (int, error)  { return 0, net.ErrClosed }
func (closed) Write([]byte) (int, error) { return 0, net.ErrClosed }
func (closed) Close() error              { return nil }
