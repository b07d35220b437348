package tests

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOutOfFileDescriptors: the gateway and the embedded broker say so, with what to
// do, and go on when they have some again.
func TestOutOfFileDescriptors(t *testing.T) {
	t.Parallel()
	cast, broker := newIotcast(t), freeAddress(t)
	cast.launch("streams", "-o", writeFile(t, root(cast.gateway, cast.http)+fmt.Sprintf("mqtt_broker: { address: %q }\n", broker)))
	cast.waitReady()
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
	for _, address := range []string{cast.gateway, broker} {
		for range 20 {
			nc, err := net.Dial("tcp", address) // into the listener's backlog
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = nc.Close() })
		}
		eventually(t, "the log tells of "+address, func() bool {
			for line := range strings.Lines(cast.out.String()) {
				if strings.Contains(line, "Out of file descriptors") && strings.Contains(line, "LimitNOFILE") && strings.Contains(line, fmt.Sprintf("address=%q", address)) {
					return true
				}
			}
			return false
		})
	}
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
