package tests

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Jeffail/gabs/v2"
)

// TestClusterFullDisk: while messages flow, the disk of the NATS server that leads runs
// full; later there is room again, and that server is started again. Every client gets
// every message, those of a device in order, and is told of no gap.
func TestClusterFullDisk(t *testing.T) {
	const clients, messages = 60, 3000
	c := &cluster{t: t, broker: startMosquitto(t)}
	for range 3 {
		c.stores = append(c.stores, smallDisk(t))
	}
	c.start("../config/cluster/trigger.yaml", 1, []string{"a", "b"})
	s := startSwarm(t, clients, "ws://"+c.balancer+"/telemetry")
	p := c.publishSteadily(t, messages, 5*time.Millisecond)
	p.wait(t, messages/6)
	leader := c.leader()
	ballast := filepath.Join(c.stores[leader], "ballast")
	fill(t, ballast)
	p.wait(t, messages/2)
	var disk syscall.Statfs_t
	if err := syscall.Statfs(c.stores[leader], &disk); err != nil || disk.Bavail > 16 { // NATS rewrites small files
		t.Errorf("the disk was not full: %d blocks, %v", disk.Bavail, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	m := c.nats[leader] // NATS 2.9 goes on in silence, and has in memory what it could not write
	m.kill()
	m.start()
	m.waitReady()
	p.wait(t, messages)
	s.complete(t, messages)
}

// smallDisk is a file system of its own.
func smallDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		t.Fatalf("mounting a small disk: %v: this test needs root", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file until the disk has no room.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; { // the last bytes, too
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			t.Fatal(err)
		}
	}
}

// leader is which of the NATS servers leads the stream of envelopes.
func (c *cluster) leader() (n int) {
	c.t.Helper()
	eventually(c.t, "the stream has a leader", func() bool {
		res, err := apiClient.Get(strings.Replace(c.nats[0].ready, "/healthz", "/jsz?accounts=true&streams=true", 1))
		if err != nil {
			return false
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return false
		}
		answer, err := gabs.ParseJSON(body)
		if err != nil {
			return false
		}
		name, _ := answer.Path("account_details.0.stream_detail.0.cluster.leader").Data().(string)
		n = strings.Index("012", strings.TrimPrefix(name, "n"))
		return name != "" && n >= 0
	})
	return n
}
