package fanout

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// smallBuffer makes a socket fill up soon, yet not crawl.
const smallBuffer = 32 << 10

// link attaches a real socket to h and returns its two ends.
func link(t testing.TB, h *Hub, readBuffer int) (*Conn, net.Conn) {
	t.Helper()
	return linkAs(t, h, readBuffer, Client{})
}

func linkAs(t testing.TB, h *Hub, readBuffer int, as Client) (*Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialed := make(chan net.Conn, 1)
	go func() {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err == nil && readBuffer > 0 {
			_ = nc.(*net.TCPConn).SetReadBuffer(readBuffer)
		}
		dialed <- nc
	}()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if readBuffer > 0 {
		_ = server.(*net.TCPConn).SetWriteBuffer(readBuffer)
	}
	client := <-dialed
	as.Prelude = []byte("hello")
	c := h.Attach(server, as)
	t.Cleanup(func() { _ = client.Close() })
	if got := make([]byte, 5); readFull(t, client, got) != "hello" {
		t.Fatalf("prelude %q", got)
	}
	return c, client
}

// tcpPair makes the two ends of a connection.
func tcpPair(t *testing.T) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return server, client
}

func readFull(t testing.TB, r io.Reader, p []byte) string {
	t.Helper()
	if _, err := io.ReadFull(r, p); err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// readFrame reads one unmasked frame.
func readFrame(r io.Reader) (op Opcode, fin bool, payload []byte, err error) {
	first, payload, err := readRaw(r)
	return Opcode(first & opcodeSet), first&finBit != 0, payload, err
}

func readRaw(r io.Reader) (first byte, payload []byte, err error) {
	var h [10]byte
	if _, err = io.ReadFull(r, h[:2]); err != nil {
		return 0, nil, err
	}
	n := int(h[1])
	switch n {
	case 126:
		_, err = io.ReadFull(r, h[2:4])
		n = int(binary.BigEndian.Uint16(h[2:]))
	case 127:
		_, err = io.ReadFull(r, h[2:10])
		n = int(binary.BigEndian.Uint64(h[2:]))
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return h[0], payload, err
}

// readMessage reads the frames of one message; first is the first byte of its
// first frame.
func readMessage(r io.Reader) (first byte, payload []byte, err error) {
	for begun, fin := false, false; !fin; begun = true {
		b, p, err := readRaw(r)
		if err != nil {
			return first, nil, err
		}
		if !begun {
			first = b
		}
		payload, fin = append(payload, p...), b&finBit != 0
	}
	return first, payload, nil
}

func newTestHub(t testing.TB, cfg Config) *Hub {
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = 1 << 20
	}
	h := NewHub(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		h.Close(ctx, GoingAway, errors.New("test over"))
	})
	return h
}

func message(i, size int) string {
	return fmt.Sprintf("%d:", i) + strings.Repeat("x", size)
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func broadcast(h *Hub, op Opcode, payload []byte) int {
	return h.Broadcast(Message{Opcode: op, Payload: payload})
}

// masked is a frame from a client.
func masked(first byte, payload string) []byte {
	f := appendHeader(nil, first, len(payload))
	f[1] |= maskBit
	return append(append(f, 0, 0, 0, 0), payload...) // a key that changes nothing
}
