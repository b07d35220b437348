//go:build unix

// Package reserve holds loopback ports for the servers that tests start in other processes,
// or by a configuration that takes an address and no listener.
package reserve

import (
	"fmt"
	"os"
	"syscall"
)

// Address returns 127.0.0.1 with a port that stays the caller's until the process ends.
//
// The port is bound, and nothing listens on it: a client is refused. The kernel hands it to nobody who
// asks for any port, and lets a server have it who asks for this one with SO_REUSEADDR, as servers do,
// again and again (Linux, inet_csk_get_port).
func Address() (string, error) {
	port, err := bind()
	if err != nil {
		return "", fmt.Errorf("reserving a port: %w", err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port), nil
}

func bind() (port int, err error) {
	// Not of package net, which would listen at once.
	syscall.ForkLock.RLock() // or else a program that is started now would have it, too
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	return name.(*syscall.SockaddrInet4).Port, nil
}
