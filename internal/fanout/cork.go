package fanout

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"syscall"
)

// ForTLS returns a listener to put below that of crypto/tls. A hub can then write
// to its connections as it does to plain ones: as much as the socket takes, and
// with one system call however many records that is. Without it each write needs
// a goroutine, and the hub does not notice when encryption is slower than what is
// broadcast.
func ForTLS(l net.Listener) net.Listener {
	if !canWriteDirectly {
		return l
	}
	return corkListener{l}
}

type corkListener struct{ net.Listener }

// Accept implements net.Listener.
func (l corkListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &cork{Conn: nc, fd: -1}, nil
}

// cork stands between TLS and the socket. During the handshakes it lets all through.
// Once corkOf has put it in, it keeps what TLS writes until push or drain.
type cork struct {
	net.Conn

	mu       sync.Mutex
	in       bool
	fd       int    // -1 when the socket is closed
	sealed   []byte // records that the socket has not taken
	buffer   *[]byte
	draining bool // drain is writing what came before sealed

	polling bool // Read does not wait
	reads   int  // how often Read may read from the socket, before it says that it is dry
}

// buffers are for what is sealed and taken by the socket in one go.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// corkOf puts in the cork below a TLS connection. It returns nil if there is none.
func corkOf(nc net.Conn) *cork {
	t, ok := nc.(*tls.Conn)
	if !ok {
		return nil
	}
	k, ok := t.NetConn().(*cork)
	if !ok {
		return nil
	}
	raw, err := k.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if raw.Control(func(fd uintptr) { k.fd = int(fd) }) != nil {
		return nil
	}
	k.in = true
	return k
}

// readsAtOnce is how often the socket is read before the poller looks at other
// connections. A record of TLS takes two.
const readsAtOnce = 4

// allowRead is called before TLS is read without waiting.
func (k *cork) allowRead() {
	k.mu.Lock()
	k.polling, k.reads = true, readsAtOnce
	k.mu.Unlock()
}

// letReadWait is called before TLS is read by whoever waits for it.
func (k *cork) letReadWait() {
	k.mu.Lock()
	k.polling = false
	k.mu.Unlock()
}

// errDry is of the kind after which TLS can be read again.
type errDry struct{}

func (errDry) Error() string   { return "nothing to read" }
func (errDry) Timeout() bool   { return true }
func (errDry) Temporary() bool { return true }

// Read implements net.Conn for TLS.
func (k *cork) Read(p []byte) (int, error) {
	k.mu.Lock()
	if !k.polling {
		k.mu.Unlock()
		return k.Conn.Read(p)
	}
	defer k.mu.Unlock()
	if k.fd < 0 {
		return 0, net.ErrClosed
	}
	if k.reads == 0 {
		return 0, errDry{}
	}
	k.reads--
	n, err := readNow(k.fd, p)
	switch {
	case err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Err: err}
	case n < 0:
		return 0, errDry{}
	case n == 0 && len(p) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// descriptor is the socket's, -1 once it is closed.
func (k *cork) descriptor() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fd
}

// Write implements net.Conn for TLS.
func (k *cork) Write(p []byte) (int, error) {
	k.mu.Lock()
	in := k.in
	if in {
		if k.sealed == nil {
			k.buffer = buffers.Get().(*[]byte)
			k.sealed = (*k.buffer)[:0]
		}
		k.sealed = append(k.sealed, p...)
	}
	k.mu.Unlock()
	if in {
		return len(p), nil
	}
	return k.Conn.Write(p)
}

// push writes what the socket takes without waiting, and returns how many bytes
// are left: those are for drain.
func (k *cork) push() (left int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.sealed) == 0 || k.draining || k.fd < 0 {
		return len(k.sealed), nil
	}
	n, err := writeNow(k.fd, k.sealed)
	if n == len(k.sealed) { // as a rule
		*k.buffer = k.sealed
		buffers.Put(k.buffer)
		k.sealed, k.buffer = nil, nil
		return 0, err
	}
	k.sealed = k.sealed[n:]
	return len(k.sealed), err
}

// waiting is how many bytes the socket has not taken.
func (k *cork) waiting() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.sealed)
}

// drain writes all that there is, and waits for the socket.
func (k *cork) drain() error {
	for {
		k.mu.Lock()
		p := k.sealed
		k.sealed, k.draining = nil, len(p) > 0
		k.mu.Unlock()
		if len(p) == 0 {
			return nil
		}
		if _, err := k.Conn.Write(p); err != nil {
			return err
		}
	}
}

// Close implements net.Conn. What TLS has written last goes out if there is room.
func (k *cork) Close() error {
	_, _ = k.push()
	k.mu.Lock()
	k.fd = -1 // another file may get it at once
	k.mu.Unlock()
	return k.Conn.Close()
}
