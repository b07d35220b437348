//go:build !linux

package fanout

// poller is for Linux alone: elsewhere each connection has a goroutine that reads.
type poller struct{}

func newPoller() *poller { return nil }

type interest int

const (
	forReading interest = iota
	forRoom
)

type watched struct{}

func (*poller) watch(*Conn, interest) bool { return false }
func (*poller) unwatch(*Conn, interest)    {}
func (*poller) forget(*Conn)               {}
func (*poller) stop()                      {}
