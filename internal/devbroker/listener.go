package devbroker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/socketerr"
)

// panicked is what the log says if mochi has panicked.
const panicked = "reading a packet has failed"

// acceptPause is the rest after an error that will pass.
const acceptPause = 50 * time.Millisecond

var _ listeners.Listener = (*listener)(nil)

// listener serves mochi with connections. mochi's own listener knows only clients that have sent CONNECT: one that
// connects and says nothing lives for ever, and Close waits for it. This one knows every connection.
type listener struct {
	id    string
	ln    net.Listener
	log   *slog.Logger
	leave func(listener string) // says goodbye to the clients that mochi knows
	ended chan struct{}         // closed when Serve has returned

	mu     sync.Mutex
	closed bool
	conns  map[*conn]struct{}
	wg     sync.WaitGroup // two for each of conns, who reads and who writes; grows under mu and only while not closed
}

func newListener(id string, ln net.Listener, log *slog.Logger, leave func(listener string)) *listener {
	return &listener{id: id, ln: ln, log: log, leave: leave, ended: make(chan struct{}), conns: map[*conn]struct{}{}}
}

func (l *listener) Init(*slog.Logger) error { return nil }
func (l *listener) ID() string              { return l.id }
func (l *listener) Protocol() string        { return l.id }
func (l *listener) Address() string         { return l.ln.Addr().String() }

// Serve accepts connections until Close.
func (l *listener) Serve(establish listeners.EstablishFn) {
	defer close(l.ended)
	for {
		nc, err := l.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // it passes; the log has been told of those that an operator can mend
			time.Sleep(acceptPause)
			continue
		}
		c := newConn(nc)
		if !l.add(c) {
			_ = nc.Close()
			return
		}
		go func() {
			defer l.wg.Done()
			c.flush()
		}()
		go func() {
			defer l.remove(c)
			err := l.establish(establish, c)
			c.end()
			l.report(c, cmp.Or(c.why, err))
		}()
	}
}

// establish has mochi serve a connection, and closes it. mochi v2.7.9 panics at packets that end too soon, and though those are
// refused before (check.go), one client's packet is not to end the process.
func (l *listener) establish(establish listeners.EstablishFn, c *conn) (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("%s: %v", panicked, why)
			if c.crashed != nil {
				c.crashed(err)
			}
		}
	}()
	return establish(l.ID(), c)
}

func (l *listener) add(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.conns[c] = struct{}{}
	l.wg.Add(2)
	return true
}

func (l *listener) remove(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	l.wg.Done()
}

// Close says goodbye to the clients that mochi knows, cuts off the others and waits for all of them. mochi's way to say
// goodbye is not used: it locks the table of clients twice for reading, and waits for itself if a client leaves in between.
func (l *listener) Close(listeners.CloseFn) {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	_ = l.ln.Close()

	l.leave(l.ID())
	l.mu.Lock()
	for c := range l.conns {
		_ = c.Close()
	}
	l.mu.Unlock()
	l.wg.Wait()
	<-l.ended
}

// report logs why a connection ended, if that is worth anyone's attention.
func (l *listener) report(c *conn, err error) {
	level := slog.LevelWarn
	if socketerr.IsReset(err) {
		level = slog.LevelDebug
	}
	for _, usual := range []error{
		nil, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded,
		packets.ErrSessionTakenOver, packets.ErrServerShuttingDown,
		packets.ErrBadUsernameOrPassword, // the hook has said so, with the name
	} {
		if errors.Is(err, usual) {
			level = slog.LevelDebug
		}
	}
	l.log.Log(context.Background(), level, "MQTT connection ended", "remote", c.RemoteAddr().String(), "reason", err)
}
