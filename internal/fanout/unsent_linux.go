package fanout

import "golang.org/x/sys/unix"

// maxUnsent is how much the kernel takes for a connection beyond what is on its
// way to the client. Without a limit it takes up to net.ipv4.tcp_wmem, 4 MB, for
// each that reads slowly: memory that Limits.QueueBytes does not bound, work for
// clients that will never read it, and messages that are old when they come,
// which DropOldest cannot reach any more. What is on its way is not counted, so
// that a long line is kept as full as before.
const maxUnsent = 128 << 10

func (h *Hub) maxUnsent() int {
	if h.cfg().SlowConsumer == OnlyLatest {
		return freshBytes
	}
	return maxUnsent
}

// limitUnsent sets the limit on a TCP socket (TCP_NOTSENT_LOWAT). Not on the
// listener: a socket that was accepted from one for Multipath TCP, Go's default,
// does not inherit it.
func limitUnsent(fd, bytes int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes) // others go without
}

// unacked is how many bytes of a socket the client has not acknowledged (SIOCOUTQ, tcp(7)).
func unacked(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
