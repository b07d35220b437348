package listen

import (
	"net"
	"sync/atomic"
	"time"
)

// Turn is a server's time on a Listener. Closing it, as a server does with its listener,
// leaves the socket open for the server whose turn is next: who connects meanwhile
// waits.
type Turn struct {
	*Listener
	over atomic.Bool
}

// Turn begins one, when the one before is over and its Accept has returned.
func (l *Listener) Turn() *Turn {
	_ = l.setDeadline(time.Time{})
	return &Turn{Listener: l}
}

// Accept implements net.Listener.
func (t *Turn) Accept() (net.Conn, error) {
	nc, err := t.Listener.Accept()
	if err != nil && t.over.Load() {
		return nil, net.ErrClosed
	}
	return nc, err
}

// Close ends Accept.
func (t *Turn) Close() error {
	t.over.Store(true)
	return t.setDeadline(time.Unix(1, 0))
}

func (l *Listener) setDeadline(at time.Time) error {
	return l.Listener.(*net.TCPListener).SetDeadline(at)
}
