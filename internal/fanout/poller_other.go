//go:build !linux

package fanout

// poller is for Linux alone: elsewhere each connection has a goroutine that reads.
type poller struct{}

func newPoller() *poller { return nil }

func (*poller) watch(*Conn) bool { return false }
func (*poller) forget(*Conn)     {}
func (*poller) stop()            {}
