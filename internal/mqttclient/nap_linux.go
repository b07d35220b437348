package mqttclient

import (
	"syscall"
	"time"
)

// nap sleeps for less than a millisecond when asked to. Go's own timers do not on
// Linux: an idle process waits for them in epoll_wait, which counts milliseconds.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // a signal may cut it short: so be it
}
