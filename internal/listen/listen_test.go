package listen

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestAddressInUse(t *testing.T) {
	l, err := TCP("127.0.0.1:0", nil, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = TCP(l.Addr().String(), nil, slog.Default())
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "another program") {
		t.Error(err)
	}
	if _, err = TCP("127.0.0.1:x", nil, slog.Default()); err == nil || strings.Contains(err.Error(), "another program") {
		t.Error(err)
	}
}

// full is a listener of a process that has no file descriptor left.
type full struct{ err error }

func (f full) Accept() (net.Conn, error) {
	return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", f.err)}
}
func (full) Addr() net.Addr { return &net.TCPAddr{} }
func (full) Close() error   { return nil }

func TestShortages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines bytes.Buffer
		log := slog.New(slog.NewTextHandler(&lines, nil))
		l := &Listener{Listener: full{syscall.EMFILE}, log: log}
		if !l.Accepts() {
			t.Error("nothing has failed yet")
		}
		const minutes = 3
		for range minutes * 60 {
			if _, err := l.Accept(); err == nil {
				t.Fatal("accepted")
			}
			time.Sleep(time.Second)
		}
		if n := strings.Count(lines.String(), "level=ERROR"); n != minutes || !strings.Contains(lines.String(), "LimitNOFILE") {
			t.Errorf("%d lines:\n%s", n, lines.String())
		}
		if l.Failed() != minutes*60 || l.Accepts() {
			t.Error(l.Failed(), l.Accepts())
		}
		time.Sleep(5 * time.Second)
		if !l.Accepts() {
			t.Error("it does not recover")
		}
		lines.Reset()
		l = &Listener{Listener: full{net.ErrClosed}, log: log}
		if _, err := l.Accept(); err == nil || l.Failed() != 0 || lines.Len() > 0 {
			t.Error("an end is taken for a shortage", lines.String())
		}
	})
}
