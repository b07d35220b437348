package swarm

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

type state uint8

const (
	connecting state = iota
	upgrading
	subscribing
	open
	stalled // open, and never read from
)

// conn is one client. Its buffers are empty but while a frame, or a packet of
// the inner protocol, is cut in two by the end of a read, and a message by frames.
type conn struct {
	fd      int
	number  int
	state   state
	stall   bool
	slow    bool
	free    time.Time // since when a slow one's link is
	sampled bool
	cut     []byte // of the WebSocket stream
	inner   []byte // of the stream inside
	message []byte // of one in several frames
	first   byte   // of that
}

func loopback(address string) (*unix.SockaddrInet4, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	if !to.Addr().Is4() || !to.Addr().IsLoopback() {
		return nil, fmt.Errorf("%s is not on the loopback of IPv4", address)
	}
	return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, nil
}

// connect begins the next connection. The stalled ones are spread among the
// readers, and so are the sampled ones; the slow ones come first.
func (s *swarm) connect() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	i := s.started
	s.started++
	c := &conn{fd: fd, number: i}
	switch {
	case i < s.cfg.Slow:
		c.slow = true
		smallBuffer(fd, slowBuffer)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, slowSegment)
	case s.cfg.Stalled > 0 && i%(s.total()/s.cfg.Stalled) == 0:
		c.stall = true
		smallBuffer(fd, 4096)
	default:
		c.sampled = i%max(1, s.total()/sampled) == 1
	}
	// A reset at the end leaves no TIME_WAIT behind for the next measurement.
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	for len(s.conns) <= fd {
		s.conns = append(s.conns, nil)
	}
	s.conns[fd] = c
	s.opening++
	if err := unix.Connect(fd, s.targets[i%len(s.targets)]); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connect: %w", err)
	}
	return unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd)})
}

func smallBuffer(fd, size int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size) }

// handshake is the request that a connection sends (RFC 6455, section 4.1).
func (s *swarm) handshake(c *conn) []byte {
	headers := []string{
		"GET " + s.cfg.Path + s.cfg.Watch.query(c.number) + s.cfg.Query + " HTTP/1.1",
		"Host: " + s.cfg.Address,
	}
	if s.dialect.events {
		return request(append(headers, "Accept: text/event-stream"))
	}
	headers = append(headers,
		"Connection: Upgrade",
		"Upgrade: websocket",
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
	)
	if p := s.dialect.subprotocol; p != "" {
		headers = append(headers, "Sec-WebSocket-Protocol: "+p)
	}
	if s.cfg.Deflate {
		headers = append(headers, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	}
	return request(headers)
}

func request(lines []string) []byte { return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n") }

// handle does what an event of the connection's socket calls for.
func (s *swarm) handle(c *conn) {
	if c.state == connecting {
		if code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
			s.end(c, fmt.Errorf("connect: %w", unix.Errno(code)))
			return
		}
		c.state = upgrading
		s.watch(c, unix.EPOLLIN)
		s.write(c, s.handshake(c))
		return
	}
	if c.state == stalled { // the server has reset it
		s.end(c, nil)
		return
	}
	// Not unix.Read: a read that cannot block need not tell Go's scheduler.
	have := copy(s.buf, c.cut)
	c.cut = c.cut[:0]
	room := s.buf[have:]
	if c.slow {
		room = room[:min(len(room), max(1, s.carried(c)))]
	}
	n, errno := readNow(c.fd, room)
	if c.slow {
		s.took(c, n, len(room))
	}
	switch {
	case errno == unix.EAGAIN, errno == unix.EINTR:
		c.cut = append(c.cut, s.buf[:have]...)
		return
	case errno != 0:
		s.end(c, errno)
		return
	case n == 0:
		s.end(c, errors.New("the server hung up"))
		return
	}
	data := s.buf[:have+n]
	if c.state == upgrading {
		var done bool
		if data, done = s.answer(c, data); !done {
			return
		}
	}
	if s.dialect.events {
		s.events(c, data)
	} else {
		s.frames(c, data)
	}
}

// answer reads the server's part of the handshake and returns what follows it.
func (s *swarm) answer(c *conn, data []byte) (rest []byte, done bool) {
	end := bytes.Index(data, []byte("\r\n\r\n"))
	if end < 0 {
		c.cut = append(c.cut, data...)
		return nil, false
	}
	status := "HTTP/1.1 101 "
	if s.dialect.events {
		status = "HTTP/1.1 200 "
	}
	if !bytes.HasPrefix(data, []byte(status)) {
		s.end(c, fmt.Errorf("handshake refused: %.60q", data))
		return nil, false
	}
	if s.cfg.Deflate && !bytes.Contains(bytes.ToLower(data[:end]), []byte("permessage-deflate")) {
		s.end(c, errors.New("the server does not compress"))
		return nil, false
	}
	if c.stall {
		s.opened(c)
		c.state = stalled
		s.watch(c, 0)
		return nil, false
	}
	if s.dialect.subscribe == nil {
		s.opened(c)
		if c.slow {
			s.slowDown(c)
		}
	} else {
		c.state = subscribing
		s.write(c, clientFrame(opBinary, s.dialect.subscribe(s.cfg.Topic, c.fd)))
	}
	return data[end+4:], true
}

// opened counts the connection as ready, once.
func (s *swarm) opened(c *conn) {
	if c.state < open {
		c.state = open
		s.ready++
		s.opening--
	}
}

func (s *swarm) watch(c *conn, events uint32) {
	_ = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: events, Fd: int32(c.fd)})
}

// write sends a few bytes; the socket of a client always has room for them.
func (s *swarm) write(c *conn, p []byte) {
	if n, err := unix.Write(c.fd, p); err != nil || n < len(p) {
		s.end(c, fmt.Errorf("write of %d bytes: %d, %w", len(p), n, err))
	}
}

func (s *swarm) end(c *conn, err error) {
	if s.conns[c.fd] != c {
		return
	}
	s.conns[c.fd] = nil
	_ = unix.Close(c.fd)
	if c.state < open {
		s.opening--
	} else {
		s.ready--
	}
	if !c.stall {
		s.dead++
		if s.failure == "" {
			s.failure = err.Error()
		}
	}
}
