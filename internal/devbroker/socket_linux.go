package devbroker

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// socket reads from and writes to a TCP connection by system calls of which the Go runtime is not told. They do not wait, and are
// over before it could make use of knowing. Telling it wakes its monitor thread wherever the process was idle before, for
// each message of a device that is one of thousands: that thread took a fifth of the broker's CPU time.
type socket struct {
	raw      syscall.RawConn
	in, out  transfer
	inRead   func(fd uintptr) bool // of in, made once
	outWrite func(fd uintptr) bool // of out
}

// transfer is one system call, and what came of it.
type transfer struct {
	p   []byte
	n   int
	err syscall.Errno
}

// newSocket returns nil for what is not plain TCP.
func newSocket(nc net.Conn) *socket {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	s := &socket{raw: raw}
	s.inRead = func(fd uintptr) bool { return s.in.do(syscall.SYS_READ, fd) }
	s.outWrite = func(fd uintptr) bool { s.out.do(syscall.SYS_WRITE, fd); return true }
	return s
}

// do returns false if the socket is not ready.
func (t *transfer) do(call, fd uintptr) bool {
	for {
		n, _, err := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.p))), uintptr(len(t.p)))
		switch err {
		case syscall.EINTR:
			continue
		case 0:
			t.n, t.err = int(n), 0
		default:
			t.n, t.err = 0, err
		}
		return err != syscall.EAGAIN
	}
}

// read waits until there is something, as net.Conn does.
func (s *socket) read(p []byte) (int, error) {
	s.in.p = p
	err := s.raw.Read(s.inRead)
	s.in.p = nil
	switch {
	case err != nil:
		return 0, err
	case s.in.err != 0:
		return 0, os.NewSyscallError("read", s.in.err)
	case s.in.n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return s.in.n, nil
}

// writeNow writes as much as the socket takes without waiting. What is wrong shows when the rest is written.
func (s *socket) writeNow(p []byte) int {
	s.out.p = p
	err := s.raw.Write(s.outWrite)
	s.out.p = nil
	if err != nil {
		return 0
	}
	return s.out.n
}
