//go:build unix

package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/fanout"
)

// hijackable is net/http's side of a handshake on a socket of the test's own:
// no port is used up, however many connections there were.
type hijackable struct {
	http.ResponseWriter
	nc     net.Conn
	header http.Header
}

func (h hijackable) Header() http.Header { return h.header }

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.nc, bufio.NewReadWriter(bufio.NewReaderSize(h.nc, 16), bufio.NewWriterSize(h.nc, 16)), nil
}

// socketPair makes two sockets that are connected with each other.
func socketPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	return ends[0], ends[1]
}

var handshake = http.Header{
	"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
	"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
}

// closeCode reads the frames of a server, and fails if anything is wrong with them. It
// returns the code of the Close frame, 0 if there is none.
func closeCode(t *testing.T, frames []byte) (code int) {
	var text []byte
	inText := false
	for len(frames) > 0 {
		if code != 0 {
			t.Fatalf("%d bytes after the Close frame", len(frames))
		}
		if len(frames) < 2 {
			t.Fatalf("half a frame: %q", frames)
		}
		first, n, at := frames[0], uint64(frames[1]), 2
		switch {
		case n == 126 && len(frames) >= 4:
			n, at = uint64(binary.BigEndian.Uint16(frames[2:])), 4
		case n >= 126:
			t.Fatalf("masked, or larger than anything that was sent: %q", frames[:2])
		}
		if uint64(len(frames)-at) < n {
			t.Fatalf("half a frame: %q", frames)
		}
		payload := frames[at : at+int(n)]
		frames = frames[at+int(n):]
		switch op := first & 0x0f; {
		case first&0x70 != 0:
			t.Fatalf("reserved bits: %x", first)
		case op == 0x8 && first&0x80 != 0 && n >= 2:
			code = int(binary.BigEndian.Uint16(payload))
		case op == 0x8 && n == 0:
			code = 1005 // in answer to one without a code
		case op == 0xa && first&0x80 != 0 && n <= 125:
		case op == 0x1, op == 0x2, op == 0x0:
			if op != 0x0 {
				inText, text = op == 0x1, nil
			}
			text = append(text, payload...)
			if inText && first&0x80 != 0 && !utf8.Valid(text) {
				t.Fatalf("text that is not UTF-8: %q", text)
			}
		default:
			t.Fatalf("a frame that no server may send: %x with %d bytes", first, n)
		}
	}
	return code
}

// FuzzFrames sends a gateway anything in place of frames. The connection ends as
// RFC 6455 has it, and one beside it does not notice.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{
		"", frame(0x81, "text"), frame(0x82, "\xff"), frame(0x89, "ping"), frame(0x8a, ""), frame(0x88, "\x03\xe8bye"), frame(0x88, ""),
		frame(0x01, "in ") + frame(0x89, "") + frame(0x80, "pieces"), frame(0x01, "\xe2\x82") + frame(0x80, "\xac"),
		frame(0x81, "\xff"), frame(0xc1, "reserved"), frame(0x83, "opcode"), frame(0x80, "alone"), frame(0x09, "cut ping"),
		frame(0x88, "\x00\x00"), frame(0x88, "x"), "\x81\x02hi", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00",
		frame(0x82, strings.Repeat("x", 513)), strings.Repeat(frame(0x02, strings.Repeat("x", 500)), 4), frame(0x89, strings.Repeat("x", 126)),
		frame(0x81, "\xed\xa0\x80"), "GET / HTTP/1.1\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	g, _ := start(f, func(c *Config) {
		l := &c.Routes[0].Limits
		l.MaxMessageBytes, l.MaxFrameBytes = 1024, 512
		c.Routes[0].Handlers.Timeout = time.Second
		c.Routes[0].Handlers.Message = func(_ context.Context, _ *Connection, m Message) ([]Message, error) {
			return []Message{m}, nil
		}
	})
	bystander := bystand(f, g, "/b/c")
	executions := 0
	f.Fuzz(func(t *testing.T, p []byte) {
		p = p[:min(len(p), 64<<10)]
		code := closeCode(t, converse(t, g, handshake, p, len(p)).frames)
		switch code {
		case 0: // it ended where the input does, or between two frames
		case 1002, 1007, 1009:
		default: // the client's own; 1005 if it gave none
			if bytes.IndexByte(p, 0x88) < 0 {
				t.Fatalf("code %d, and the client sent no Close", code)
			}
		}
		if len(p) >= 14 && breaksRules(p) && code != 1002 && code != 1009 {
			t.Fatalf("code %d for %q", code, p[:14])
		}
		if executions++; executions%8 == 0 { // not each: it takes as long as all the rest
			bystander(t)
		}
	})
}

// FuzzHandshake sends a gateway that lets nobody in anything in place of a
// request. Nothing opens a connection.
func FuzzHandshake(f *testing.F) {
	for _, way := range ways() {
		f.Add([]byte(way + "\r\n"))
	}
	f.Add([]byte("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nxGET /b/c HTTP/1.1\r\nHost: x\r\n" + // a request behind another
		"Upgrade: websocket, x\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"))
	g, _ := start(f, func(c *Config) {
		c.Routes[0].Tokens = &Tokens{Verifier: verifier(f), QueryParameter: "t", SubprotocolPrefix: "t."}
		c.Routes[1].Handlers.Connect = func(context.Context, *Request) (Answer, error) { return Answer{Status: 403}, nil }
	})
	pairs := &pairListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: g, Protocols: http1(), ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan struct{})
	go func() { _ = server.Serve(pairs); close(served) }()
	f.Cleanup(func() { _ = server.Close(); <-served })
	f.Fuzz(func(t *testing.T, p []byte) {
		there, here := socketPair(t)
		defer func() { _ = here.Close() }()
		pairs.conns <- there
		_ = here.SetDeadline(time.Now().Add(10 * time.Second))
		go func() { // the answers to many requests do not fit into the socket
			_, _ = here.Write(p)
			_ = here.(*net.UnixConn).CloseWrite()
		}()
		answers, err := io.ReadAll(here)
		if isTimeout(err) {
			t.Fatalf("the connection does not end: %q", answers)
		}
		if bytes.Contains(append([]byte("\n"), answers...), []byte("\nHTTP/1.1 101")) {
			t.Fatalf("a connection without a verdict: %q", answers)
		}
	})
}

// pairListener accepts what it is given.
type pairListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pairListener) Addr() net.Addr { return &net.UnixAddr{} }

func (l *pairListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pairListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// breaksRules reports whether no client may send the first frame, whatever follows
// (RFC 6455, sections 5.1, 5.2 and 5.5).
func breaksRules(p []byte) bool {
	op, n := p[0]&0x0f, uint64(p[1]&0x7f)
	switch n { // the library takes a length that could be written shorter
	case 126:
		n = uint64(binary.BigEndian.Uint16(p[2:]))
	case 127:
		n = binary.BigEndian.Uint64(p[2:])
	}
	control := op >= 0x8
	return p[0]&0x70 != 0 || p[1]&0x80 == 0 || op == 0x0 || op > 0x2 && op < 0x8 || op > 0xa || control && (p[0]&0x80 == 0 || n > 125)
}

// bystand connects to another route, and returns a function that broadcasts there
// and waits until that has arrived.
func bystand(f *testing.F, g *Gateway, path string) func(*testing.T) {
	c, _, err := websocket.Dial(f.Context(), "ws://"+g.Addr().String()+path, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = c.CloseNow() })
	n := 0
	return func(t *testing.T) {
		n++
		_, _ = g.Routes()[path].Broadcast(fanout.Message{Opcode: fanout.Text, Payload: fmt.Append(nil, n)})
		if _, p, err := c.Read(t.Context()); err != nil || string(p) != fmt.Sprint(n) {
			t.Fatalf("the bystander read %q, want %d: %v", p, n, err)
		}
	}
}
