//go:build !windows

package socketerr

import "syscall"

const (
	inUse   = syscall.EADDRINUSE
	refused = syscall.ECONNREFUSED
)

var resets = []error{syscall.ECONNRESET, syscall.EPIPE}
