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

// headerConnectionID is the field of the answer to a handshake that tells a client its
// connection ID. It is the original service's, so that clients of that work.
const headerConnectionID = "X-Yc-Apigateway-Websocket-Connection-Id"

// door is what a visitor needs to become a connection.
type door struct {
	hub         *fanout.Hub
	compression bool          // the route accepts it
	client      fanout.Client // what is known of the client before the handshake
}

// upgrade answers the handshake of a visitor who may connect (RFC 6455, section 4.2.2),
// and opens the connection called id. Nothing else in this package upgrades.
func upgrade(w http.ResponseWriter, v *verdict, id string, to door) *refusal {
	w.Header().Set(headerConnectionID, id)
	up := &upgrader{ResponseWriter: w, door: to, req: v.req}
	options := &websocket.AcceptOptions{
		InsecureSkipVerify: true,                          // of the origin: authorise has checked it
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
	// ws has no socket, but it has a finalizer. Left alone it would take 3 KiB a connection
	// until the garbage collector has run twice, which takes long where little happens.
	_ = ws.CloseNow()
	return nil
}

// withoutSocket refuses a visitor whose socket the server keeps. The server is not that
// of net/http, or a middleware hides what it can do.
func (v *visitor) withoutSocket(err error) *refusal {
	v.guard.log.Error("No connection can be opened, since the server does not give up the socket: a middleware that wraps http.ResponseWriter needs a method Unwrap", "source_ip", v.info.SourceIP, "error", err)
	return &refusal{http.StatusInternalServerError, "handshake", "the server does not give up the socket of the request: a middleware that wraps http.ResponseWriter needs a method Unwrap"}
}

// upgrader stands between net/http and websocket.Accept, which checks the handshake (RFC
// 6455, section 4.2.1) and makes the answer. It makes the socket a connection of the hub
// before the answer goes out, and sends the answer through that connection. So the client
// misses no message that is broadcast after the answer.
type upgrader struct {
	http.ResponseWriter
	door
	req      *http.Request
	status   int
	noSocket error // why the server keeps the socket; what the library then answers goes nowhere
}

// WriteHeader holds the 101 back: Hijack sends it.
func (u *upgrader) WriteHeader(status int) {
	if u.noSocket != nil {
		return
	}
	u.status = status
	if status != http.StatusSwitchingProtocols {
		// The handshake has failed: there is no connection to tell of.
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

// Hijack implements http.Hijacker. The hub gets the socket, and the library one that is
// closed.
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

// negotiate decides whether messages are compressed, and puts that into the answer.
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

// answer returns the 101 with its header fields.
func (u *upgrader) answer() []byte {
	var b bytes.Buffer
	b.Grow(512)
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", u.status, http.StatusText(u.status))
	_ = u.Header().Write(&b) // into memory: it cannot fail
	b.WriteString("\r\n")
	return b.Bytes()
}

// closed is a socket that is closed.
type closed struct{ net.Conn }

func (closed) Read([]byte) (int, error)  { return 0, net.ErrClosed }
func (closed) Write([]byte) (int, error) { return 0, net.ErrClosed }
func (closed) Close() error              { return nil }
