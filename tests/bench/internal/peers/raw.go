package peers

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"sync"

	"golang.org/x/sys/unix"
)

// raw is the floor: it knows that a handshake needs an answer and how to write
// a ready-made frame to a socket. It reads nothing and holds no state for a
// connection but its descriptor.
type raw struct {
	mu      sync.Mutex
	sockets []int
	waiting chan []byte // frames
}

// serveRaw writes one message at a time, or with batch all that wait at once.
func serveRaw(c Config, batch bool) error {
	r := &raw{waiting: make(chan []byte, 4096)}
	listener, err := net.Listen("tcp", c.WebSocket)
	if err != nil {
		return err
	}
	go r.write(batch)
	if err := bridge(c, func(e []byte) { r.waiting <- frame(e) }); err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go r.upgrade(conn.(*net.TCPConn))
	}
}

func frame(text []byte) []byte {
	f := make([]byte, 0, len(text)+10)
	switch n := len(text); {
	case n < 126:
		f = append(f, 0x81, byte(n))
	case n <= 0xffff:
		f = binary.BigEndian.AppendUint16(append(f, 0x81, 126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 0x81, 127), uint64(n))
	}
	return append(f, text...)
}

func (r *raw) upgrade(conn *net.TCPConn) {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		conn.Close()
		return
	}
	hash := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(hash[:]))
	// Out of the hands of Go's poller: the copy of the descriptor stays open.
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if socket, err := unix.Dup(int(fd)); err == nil {
			r.mu.Lock()
			r.sockets = append(r.sockets, socket)
			r.mu.Unlock()
		}
	})
	conn.Close()
}

func (r *raw) write(batch bool) {
	for f := range r.waiting {
		for more := batch; more; {
			select {
			case next := <-r.waiting:
				f = append(f, next...)
			default:
				more = false
			}
		}
		r.mu.Lock()
		sockets := r.sockets
		r.mu.Unlock()
		for _, socket := range sockets {
			writeAll(socket, f)
		}
	}
}

// writeAll is one write(2), and more only when the socket is full.
func writeAll(socket int, p []byte) {
	for len(p) > 0 {
		n, err := unix.Write(socket, p)
		switch err {
		case nil:
			p = p[n:]
		case unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(socket), Events: unix.POLLOUT}}, -1)
		case unix.EINTR:
		default:
			return // the client has gone, and with it the measurement
		}
	}
}
