package fanout

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tlsPair makes the two ends of a TLS connection over sockets with small buffers.
func tlsPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l = ForTLS(l)
	defer func() { _ = l.Close() }()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.(*net.TCPConn).SetReadBuffer(smallBuffer)
	if k, ok := accepted.(*cork); ok {
		_ = k.Conn.(*net.TCPConn).SetWriteBuffer(smallBuffer)
	}
	s := tls.Server(accepted, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	c := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	return s, c
}

// TestTLSUnderLoad: over TLS the socket takes records, and a hub cannot tell which
// message one that it does not take belongs to. Order, control frames between messages
// and the policy for slow connections are the same.
func TestTLSUnderLoad(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 1 << 20}, CloseTimeout: time.Second, MaxFrame: 4 << 10})
	const messages, clients = 3000, 8
	var all sync.WaitGroup
	var received [clients]atomic.Int64
	for n := range clients {
		s, c := tlsPair(t)
		h.Attach(s, Client{})
		all.Go(func() {
			for i, pongs := 0, 0; i < messages; {
				first, p, err := readMessage(c)
				switch {
				case err != nil:
					t.Errorf("message %d: %v", i, err)
					return
				case Opcode(first&opcodeSet) == opPong:
					pongs++
				case string(p) != message(i, 1000+i%9000):
					t.Errorf("message %d: %.10q", i, p)
					return
				default:
					i++
					received[n].Add(1)
				}
			}
		})
		all.Go(func() {
			for range 500 {
				_, _ = c.Write(masked(finBit|byte(opPing), ""))
			}
		})
	}
	stalled, peer := tlsPair(t)
	h.Attach(stalled, Client{})
	for i := range messages {
		broadcast(h, Text, []byte(message(i, 1000+i%9000)))
		if i%100 == 0 { // who reads must not be taken for slow
			eventually(t, func() bool {
				for n := range received {
					if received[n].Load() < int64(i-100) && !t.Failed() {
						return false
					}
				}
				return true
			})
		}
	}
	all.Wait()
	if s := h.Stats(); s.Slow != 1 || s.Dropped != 0 {
		t.Errorf("%+v", s)
	}
	_ = peer.Close()
}

// TestCloseFrameOverTLS: the Close frame comes before the end of the TLS
// connection.
func TestCloseFrameOverTLS(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 1 << 20}})
	s, c := tlsPair(t)
	conn := h.Attach(s, Client{})
	broadcast(h, Text, []byte("last"))
	conn.CloseWith(4000, errEnded)
	if _, _, p, err := readFrame(c); err != nil || string(p) != "last" {
		t.Fatalf("%q %v", p, err)
	}
	if op, _, p, err := readFrame(c); err != nil || op != opClose || binary.BigEndian.Uint16(p) != 4000 {
		t.Fatalf("%v %q %v", op, p, err)
	}
	_ = c.Close()
	eventually(t, func() bool { return h.Len() == 0 })
}

// clinging is a connection whose Close takes its time, as that of TLS does when
// the peer does not read.
type clinging struct {
	net.Conn
	release chan struct{}
}

func (c clinging) Close() error {
	<-c.release
	return c.Conn.Close()
}

func TestAConnectionThatIsSlowToCloseHoldsUpNobody(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{QueueBytes: 1 << 20}})
	a, b := net.Pipe()
	slow := clinging{a, make(chan struct{})}
	defer close(slow.release)
	defer func() { _ = b.Close() }()
	conn := h.Attach(slow, Client{})
	_, fast := link(t, h, 0)
	conn.abort()
	eventually(t, func() bool { return h.Len() == 1 })
	for i := range 10 {
		broadcast(h, Text, []byte(message(i, 100)))
		if _, _, p, err := readFrame(fast); err != nil || string(p) != message(i, 100) {
			t.Fatalf("%.10q %v", p, err)
		}
	}
}

// TestAnswersOfTLSAreBounded: what TLS itself writes to a client that does not read, as
// the answers to updates of its keys, waits for it, and counts.
func TestAnswersOfTLSAreBounded(t *testing.T) {
	const queueBytes = 256 << 10
	for name, policy := range map[string]Policy{"disconnect": Disconnect, "drop oldest": DropOldest} {
		t.Run(name, func(t *testing.T) {
			h := newTestHub(t, Config{Limits: Limits{QueueBytes: queueBytes, SlowConsumer: policy}})
			s, _ := tlsPair(t)
			c := h.Attach(s, Client{})
			blocked := func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.blocked
			}
			for !blocked() {
				broadcast(h, Text, []byte(message(0, 10_000)))
			}
			record := make([]byte, 1000)
			for written := 0; h.Stats().Slow == 0; written += len(record) {
				if written > 2*queueBytes {
					t.Fatalf("%d bytes were heaped up", written)
				}
				_, _ = c.cork.Write(record) // as TLS does in Read
				c.pushSealed()
			}
		})
	}
}
