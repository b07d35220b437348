package listen

import (
	"errors"
	"log/slog"
	"net"
	"testing"
)

// TestTurns: one server follows another on the same socket; who connects in between
// waits, and is the next one's.
func TestTurns(t *testing.T) {
	l, err := TCP("127.0.0.1:0", nil, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for range 3 {
		turn := l.Turn()
		ended := make(chan error)
		go func() {
			for {
				nc, err := turn.Accept()
				if err != nil {
					ended <- err
					return
				}
				_, _ = nc.Write([]byte("x"))
				_ = nc.Close()
			}
		}()
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		_ = nc.Close()
		if err := turn.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the end of the turn is %v", err)
		}
		between, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		next := l.Turn()
		if accepted, err := next.Accept(); err != nil {
			t.Error(err)
		} else {
			_ = accepted.Close()
		}
		_ = between.Close()
	}
}
