//go:build unix

package devbroker

import (
	"net"
	"syscall"
)

// writeNow writes as much as the socket takes without waiting.
func writeNow(tcp *net.TCPConn, p []byte) (n int) {
	if len(p) == 0 {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Write(func(fd uintptr) bool {
		n, _ = syscall.Write(int(fd), p)
		return true
	})
	return max(n, 0)
}
