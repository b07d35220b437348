package mqttclient

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestGivenUpWhileConnecting, at whatever moment: nothing is left, here or there.
func TestGivenUpWhileConnecting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				_, _ = io.Copy(io.Discard, nc) // until the client closes it
				_ = nc.Close()
			})
		}
	})
	urls, err := ParseURLs("tcp://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := New(Config{URLs: urls, ClientID: "x", KeepAlive: 10 * time.Second, ConnectTimeout: time.Minute, MaxUnacked: 10, Filters: []string{"#"}}, slog.New(slog.DiscardHandler))
	for i := range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*5*time.Microsecond)
		if s, err := c.Connect(ctx); err == nil {
			t.Errorf("connected: %v", s)
		}
		cancel()
	}
	_ = l.Close()
	open.Wait()
}

// TestNobodyListens: the error says what to look at.
func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	for _, scheme := range []string{"tcp", "ssl", "ws"} {
		urls, err := ParseURLs(scheme + "://" + l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := New(Config{URLs: urls, ClientID: "x", ConnectTimeout: time.Minute}, slog.New(slog.DiscardHandler))
		if _, err := c.Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "check that the broker runs, and host and port of the URL") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
}
