package websocketbroadcast_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/reserve"
)

// breakListener makes the kernel refuse to accept any more connections on a
// socket of this process.
func breakListener(t *testing.T, addr net.Addr) {
	t.Helper()
	for fd := range 1024 {
		listening, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
		if err != nil || listening == 0 {
			continue
		}
		if name, err := syscall.Getsockname(fd); err == nil {
			if in, ok := name.(*syscall.SockaddrInet4); ok && in.Port == addr.(*net.TCPAddr).Port {
				if err := syscall.Shutdown(fd, syscall.SHUT_RDWR); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
	t.Fatal("nobody listens on ", addr)
}

// TestReady: a gateway on which no connection can be opened any more makes its
// streams not ready, and what is to be broadcast waits.
func TestReady(t *testing.T) {
	set := startGateway(t, fanout.Limits{QueueBytes: 1 << 20, MaxMessageBytes: 1 << 10})
	api, err := reserve.Address()
	if err != nil {
		t.Fatal(err)
	}
	b := service.NewStreamBuilder()
	if err := b.SetYAML(fmt.Sprintf(`
http: { enabled: true, address: %q }
logger: { level: NONE }
input: { generate: { mapping: 'root = "x"', interval: 10ms } }
output: { websocket_broadcast: { gateway: main, path: /telemetry } }
`, api)); err != nil {
		t.Fatal(err)
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	s.Resources().SetGeneric(gateway.Key, set)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	waitStatus(t, "http://"+api+"/ready", http.StatusOK)
	breakListener(t, set.All()[0].Addr())
	waitStatus(t, "http://"+api+"/ready", http.StatusServiceUnavailable)
	if err := set.All()[0].Err(); err == nil || !strings.Contains(err.Error(), `"main" stopped listening`) {
		t.Error(err)
	}
}

func waitStatus(t *testing.T, url string, want int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		res, err := client.Get(url)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == want {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer %d: %v %v", url, want, res, err)
		}
	}
}
