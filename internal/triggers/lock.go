//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package triggers

import (
	"fmt"
	"os"
	"syscall"
)

// Lock waits until no other process changes triggers, and keeps others from doing
// so until unlock, or until this process ends: who reads a trigger to change it
// must have the lock before. Reading alone needs none, since files are replaced
// at once.
func (d Dir) Lock() (unlock func(), err error) {
	f, err := os.Open(string(d))
	if err != nil {
		return nil, fmt.Errorf("locking the streams directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking the streams directory: %w", err)
	}
	return func() { _ = f.Close() }, nil
}
