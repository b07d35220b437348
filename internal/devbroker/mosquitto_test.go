package devbroker

import (
	"bytes"
	"net"
	"sync"
	"testing"

	"github.com/iotcast/iotcast/internal/mosquitto"
)

// startMosquitto starts a Mosquitto to which anyone may connect, and returns where that is, and what kills it.
func startMosquitto(t *testing.T, lines ...string) (address string, stop func()) {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a process")
	}
	m, err := mosquitto.New(t.TempDir(), append([]string{"allow_anonymous true"}, lines...)...)
	if err != nil {
		t.Fatal(err)
	}
	cmd := m.Command()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: apt-get install mosquitto", err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("log of Mosquitto:\n%s", &log)
		}
	})
	eventually(t, "Mosquitto listens", func() bool {
		nc, err := net.Dial("tcp", m.Addr)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	})
	return m.Addr, stop
}
