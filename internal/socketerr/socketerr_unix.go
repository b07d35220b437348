//go:build !windows

package socketerr

import "syscall"

const inUse = syscall.EADDRINUSE

var resets = []error{syscall.ECONNRESET, syscall.EPIPE}
