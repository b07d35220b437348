package tests

import (
	"fmt"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOutOfFileDescriptors: the gateway says so, with what to do, and goes on when
// it has some again.
func TestOutOfFileDescriptors(t *testing.T) {
	t.Parallel()
	cast := runStreams(t)
	pid := cast.cmd.Process.Pid
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: uint64(len(open)) + 4, Max: before.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		nc, err := net.Dial("tcp", cast.gateway) // into the listener's backlog
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
	}
	cast.waitLog("Out of file descriptors")
	cast.waitLog("LimitNOFILE")
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range connectAll(t, cast.url("/telemetry")) {
		c.mustBeOpen()
	}
	eventually(t, "the metrics tell of it", func() bool {
		return cast.metric("websocket_accept_failed", `gateway="main"`) > 0 && cast.metric("websocket_gateway_up", `gateway="main"`) == 1
	})
}
