package tests

import (
	"io"
	"net"
	"sync"
	"testing"
)

// link is a network between clients and a server, which can be cut.
type link struct {
	addr   string // where clients connect to
	target string

	mu    sync.Mutex
	down  bool
	pairs map[*pair]bool
}

// pair is a connection through the link.
type pair struct {
	client, server net.Conn
	deaf           bool // guarded by link.mu
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &link{addr: l.Addr().String(), target: target, pairs: make(map[*pair]bool)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { n.carry(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		n.cut()
		all.Wait()
	})
	return n
}

func (n *link) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", n.target)
	if err != nil {
		return
	}
	defer server.Close()
	p := &pair{client: client, server: server}
	n.mu.Lock()
	down := n.down
	if !down {
		n.pairs[p] = true
	}
	n.mu.Unlock()
	if down {
		return
	}
	var directions sync.WaitGroup
	directions.Go(func() { n.copy(p, server, client) })
	directions.Go(func() { n.copy(p, client, server) })
	directions.Wait()
	n.mu.Lock()
	delete(n.pairs, p)
	n.mu.Unlock()
}

func (n *link) copy(p *pair, to, from net.Conn) {
	defer to.Close() // the other direction ends as well
	buf := make([]byte, 32<<10)
	for {
		k, err := from.Read(buf)
		n.mu.Lock()
		deaf := p.deaf
		n.mu.Unlock()
		if deaf {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if _, werr := to.Write(buf[:k]); err != nil || werr != nil {
			return
		}
	}
}

// cut breaks all connections, in the middle of what they carry, and lets no new
// one through.
func (n *link) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for p := range n.pairs {
		_ = p.client.(*net.TCPConn).SetLinger(0)
		_ = p.server.(*net.TCPConn).SetLinger(0)
		p.client.Close()
		p.server.Close()
	}
}

// heal lets new connections through.
func (n *link) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
}

// forget carries nothing any more over the connections that there are, of which
// neither side learns: what a router does that has lost its table.
func (n *link) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p := range n.pairs {
		p.deaf = true
	}
}
