//go:build unix

package fanout

import (
	"errors"
	"syscall"
	"time"
)

// canWriteDirectly: Go's sockets are non-blocking, so one write(2) tells at
// once how much the kernel takes. net.Conn.Write would instead park the shard
// until the peer reads, and RawConn.Write takes two locks and a look at the
// poller for each delivery.
const canWriteDirectly = true

// writeNow writes as much of p as the socket takes without waiting.
func writeNow(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Write(fd, p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		default:
			return 0, err
		}
	}
}

// readNow reads what there is without waiting; -1 is for nothing, 0 for the end.
func readNow(fd int, p []byte) (int, error) {
	for {
		n, err := syscall.Read(fd, p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return -1, nil
		default:
			return 0, err
		}
	}
}

// WaitReadable returns when there is something to read from the socket, the
// end or an error included. It holds no buffer and little stack meanwhile,
// which is what an idle connection costs.
//
// It takes the answers to our own pings itself. The library would read them with
// a stack twice as large, and wait there for what comes next.
func (c *Conn) WaitReadable() {
	if c.raw == nil {
		return
	}
	_ = c.raw.Read(c.readable)
}

// readable reports whether there is anything but the answers to our own pings.
func (c *Conn) readable(fd uintptr) bool {
	for {
		var b [pongLen]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return false
		case n == pongLen && b[0] == finBit|byte(opPong) && b[1] == maskBit:
			_, _ = syscall.Read(int(fd), b[:])
			c.heard.Store(time.Now().UnixNano())
		default:
			return true
		}
	}
}

// A client's pong without payload, as our pings have none: two bytes and the
// masking key (RFC 6455, section 5.2).
const pongLen = 2 + 4
