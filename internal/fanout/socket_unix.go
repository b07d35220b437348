//go:build unix

package fanout

import (
	"errors"
	"syscall"
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
