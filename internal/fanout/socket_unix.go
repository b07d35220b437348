//go:build unix

package fanout

import (
	"errors"
	"sync"
	"syscall"
	"time"
)

// canWriteDirectly: Go's sockets are non-blocking, so one write(2) tells at
// once how much the kernel takes. net.Conn.Write would instead park the shard
// until the peer reads.
const canWriteDirectly = true

// attempt carries the arguments of one write in and out of the callback that
// RawConn wants, so that no closure is made for it.
type attempt struct {
	p   []byte
	n   int
	err error
	do  func(fd uintptr) bool
}

var attempts = sync.Pool{New: func() any {
	a := new(attempt)
	a.do = func(fd uintptr) bool {
		for {
			a.n, a.err = syscall.Write(int(fd), a.p)
			if !errors.Is(a.err, syscall.EINTR) {
				return true
			}
		}
	}
	return a
}}

// writeNow writes as much of p as the socket takes without waiting.
func writeNow(raw syscall.RawConn, p []byte) (int, error) {
	a := attempts.Get().(*attempt)
	a.p = p
	err := raw.Write(a.do)
	n, werr := a.n, a.err
	a.p = nil
	attempts.Put(a)
	switch {
	case err != nil:
		return 0, err
	case errors.Is(werr, syscall.EAGAIN):
		return 0, nil
	case werr != nil:
		return 0, werr
	}
	return n, nil
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
