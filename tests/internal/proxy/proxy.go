// Package proxy is a network that can be cut, slowed down and made to swallow
// everything.
package proxy

import (
	"net"
	"sync"
	"time"
)

// Proxy passes TCP connections on to an address.
type Proxy struct {
	listener net.Listener
	to       string
	running  sync.WaitGroup

	mu       sync.Mutex
	conns    map[net.Conn]bool // true: what comes from there is swallowed
	cut      bool
	swallows bool
	delay    time.Duration
	closed   bool
}

// New starts a proxy to an address, on a port of the loopback.
func New(to string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, to: to, conns: make(map[net.Conn]bool)}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut resets all connections, and each that comes, until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.reset()
}

// Swallow lets connections be, and passes nothing on, either way, until Mend:
// both ends keep a connection that is only half there.
func (p *Proxy) Swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallows = true
}

// Forget swallows all on the connections that there are, of which neither side
// learns, and passes new ones on: what a router does that has lost its table.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		p.conns[c] = true
	}
}

// Delay holds everything back for so long, either way, until Mend.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Mend undoes the faults. A connection from which something was swallowed is
// reset, as it would miss a part.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.swallows {
		p.reset()
	}
	p.cut, p.swallows, p.delay = false, false, 0
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.reset()
	p.mu.Unlock()
	_ = p.listener.Close()
	p.running.Wait()
}

// reset ends all connections. The caller holds p.mu.
func (p *Proxy) reset() {
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *Proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = from.Close()
			continue
		}
		p.mu.Lock()
		p.conns[from], p.conns[to] = false, false
		if p.cut || p.closed {
			p.reset()
		}
		p.mu.Unlock()
		p.running.Go(func() { p.pass(from, to) })
		p.running.Go(func() { p.pass(to, from) })
	}
}

// pass copies from one connection to the other until either ends.
func (p *Proxy) pass(from, to net.Conn) {
	defer p.end(from, to)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		swallows, delay := p.swallows || p.conns[from], p.delay
		p.mu.Unlock()
		if swallows {
			continue
		}
		time.Sleep(delay)
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *Proxy) end(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(p.conns, c)
	}
}
