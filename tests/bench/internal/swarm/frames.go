package swarm

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa

	bitFin      = 0x80
	bitDeflated = 0x40 // RSV1, of permessage-deflate
)

func readNow(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

// frames takes all whole frames of data and keeps the rest for the next read.
func (s *swarm) frames(c *conn, data []byte) {
	for {
		body, size := frame(data)
		if size == 0 {
			break
		}
		if !c.slow {
			s.bytes += uint64(size)
		}
		first := data[0]
		switch op := first & 0x0f; op {
		case opClose:
			s.end(c, fmt.Errorf("closed by the server: %q", body))
			return
		case opPing:
			s.write(c, clientFrame(opPong, body))
		case opPong:
		default:
			if c.slow {
				s.late(body)
				break
			}
			var whole bool
			if first, body, whole = c.gather(first, body); !whole {
				break
			}
			if first&bitDeflated != 0 {
				s.delivered += s.inflate.count(body)
				break
			}
			if err := s.dialect.read(s, c, body); err != nil {
				s.end(c, err)
				return
			}
		}
		data = data[size:]
	}
	if len(data) >= readBuffer {
		s.end(c, fmt.Errorf("a frame of more than %d bytes", readBuffer))
		return
	}
	c.cut = append(c.cut, data...)
}

// gather puts together a message in several frames (RFC 6455, section 5.4): what is
// looked for in it may stand where one ends. It returns the first byte of its first
// frame, and the payload once it is whole.
func (c *conn) gather(first byte, body []byte) (byte, []byte, bool) {
	final, continues := first&bitFin != 0, first&0x0f == 0
	if final && !continues {
		return first, body, true
	}
	if !continues {
		c.first, c.message = first, c.message[:0]
	}
	c.message = append(c.message, body...)
	return c.first, c.message, final
}

// frame returns the payload of the server's frame at the start of p and the
// frame's size, 0 if it is not all there (RFC 6455, section 5.2).
func frame(p []byte) (body []byte, size int) {
	if len(p) < 2 {
		return nil, 0
	}
	head, length := 2, int(p[1]&0x7f)
	switch {
	case length == 126 && len(p) >= 4:
		head, length = 4, int(binary.BigEndian.Uint16(p[2:]))
	case length == 127 && len(p) >= 10:
		head, length = 10, int(binary.BigEndian.Uint64(p[2:]))
	case length >= 126:
		return nil, 0
	}
	if len(p) < head+length {
		return nil, 0
	}
	return p[head : head+length], head + length
}

// clientFrame is a frame with a mask of zeros, which leaves the payload as it is.
func clientFrame(op byte, payload []byte) []byte {
	f := []byte{bitFin | op}
	if n := len(payload); n < 126 {
		f = append(f, 0x80|byte(n))
	} else {
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	}
	f = append(f, 0, 0, 0, 0)
	return append(f, payload...)
}
