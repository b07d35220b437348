package fanout

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestConnectionsLimitUnsent, whatever listener they come from.
func TestConnectionsLimitUnsent(t *testing.T) {
	c, _ := link(t, newTestHub(t, Config{}), 0)
	c.mu.Lock()
	defer c.mu.Unlock()
	got, err := unix.GetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
	if err != nil || got != maxUnsent {
		t.Errorf("TCP_NOTSENT_LOWAT of the connection is %d, %v; want %d", got, err, maxUnsent)
	}
}
