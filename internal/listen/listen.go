// Package listen is how the servers of this process listen: they say what keeps
// them from it, and what to do about it.
package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/iotcast/iotcast/internal/socketerr"
)

// Listener tells the log when connections cannot be accepted, which net/http would
// try again for ever and say to nobody. Its methods may be called concurrently.
type Listener struct {
	net.Listener
	log    *slog.Logger
	failed atomic.Int64
	last   atomic.Pointer[time.Time] // of the failures
	logged time.Time                 // of Accept alone
}

// TCP binds an address, host:port. The options may be nil.
func TCP(address string, options *net.ListenConfig, log *slog.Logger) (*Listener, error) {
	if options == nil {
		options = new(net.ListenConfig)
	}
	l, err := options.Listen(context.Background(), "tcp", address)
	if err != nil {
		hint := ""
		if socketerr.IsInUse(err) {
			hint = ": another program listens there, choose another address or end it"
		}
		return nil, fmt.Errorf("to address %s: %w%s", address, err, hint)
	}
	return &Listener{Listener: l, log: log}, nil
}

// shortages are what Accept fails for while the listener is sound.
var shortages = []struct {
	err  error
	text string
}{
	{syscall.EMFILE, "Out of file descriptors, new connections wait: let the process have more (systemd: LimitNOFILE=, a shell: ulimit -n, Docker: --ulimit nofile=), or lower max_connections"},
	{syscall.ENFILE, "The system is out of file descriptors, new connections wait: raise fs.file-max, or end what holds them"},
	{syscall.ENOBUFS, "The system is out of memory for sockets, new connections wait"},
	{syscall.ENOMEM, "The system is out of memory, new connections wait"},
}

// logEvery is how often the log is told of a shortage that goes on.
const logEvery = time.Minute

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err == nil {
		return nc, nil
	}
	for _, s := range shortages {
		if !errors.Is(err, s.err) {
			continue
		}
		now := time.Now()
		l.failed.Add(1)
		l.last.Store(&now)
		if l.logged.IsZero() || now.Sub(l.logged) >= logEvery {
			l.logged = now
			l.log.Error(s.text, "address", l.Addr().String(), "error", err)
		}
		break
	}
	return nil, err
}

// Failed is how often a connection could not be accepted, each try counted.
func (l *Listener) Failed() int64 { return l.failed.Load() }

// Accepts reports whether connections can be accepted, as far as the last tries
// tell: net/http makes one a second while they fail.
func (l *Listener) Accepts() bool {
	last := l.last.Load()
	return last == nil || time.Since(*last) > 2*time.Second
}
