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
	"unicode/utf8"
)

func closePayload(code uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, code)) + reason
}

// TestAnswersComeBeforeTheCloseFrame: also when the client closes right behind its
// messages, and says no more at all.
func TestAnswersComeBeforeTheCloseFrame(t *testing.T) {
	for name, last := range map[string]struct {
		frame []byte
		want  uint16
	}{
		"closed":  {masked(finBit|byte(opClose), closePayload(4000, "bye")), 4000},
		"in ruin": {masked(finBit|0x3, ""), ProtocolError},
	} {
		for _, half := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, half-closed %v", name, half), func(t *testing.T) {
				h := newTestHub(t, Config{Limits: Limits{MaxMessageBytes: 1 << 10}, WantsMessages: true})
				release, ended := make(chan struct{}), make(chan error, 1)
				var c *Conn
				_, client := linkAs(t, h, 0, Client{
					Attached: func(a *Conn) { c = a },
					Peer: hearing{
						message: func(op Opcode, data []byte) { <-release; _ = c.Send(op, data) },
						ended:   func(cause error) { ended <- cause },
					},
				})
				send(t, client, masked(finBit|byte(Text), "one"), masked(finBit|byte(Binary), "two"), last.frame)
				if half {
					_ = client.(*net.TCPConn).CloseWrite()
				}
				eventually(t, func() bool {
					c.mu.Lock()
					defer c.mu.Unlock()
					return c.deaf && (!half || !c.listening)
				})
				close(release)
				nextIs(t, client, Text, "one")
				nextIs(t, client, Binary, "two")
				if op, _, p, err := readFrame(client); op != opClose || binary.BigEndian.Uint16(p) != last.want {
					t.Fatalf("%d %q %v", op, p, err)
				}
				_ = client.Close()
				if cause := <-ended; errors.Is(cause, ErrLost) {
					t.Error(cause)
				}
			})
		}
	}
}

// TestHalfClosedClient: one that breaks off its own side is gone.
func TestHalfClosedClient(t *testing.T) {
	bothWays(t, func(t *testing.T, secure bool) {
		h := newTestHub(t, Config{})
		ended := make(chan error, 1)
		_, client := attach(t, h, secure, Client{Peer: hearing{ended: func(cause error) { ended <- cause }}})
		if err := client.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if cause := <-ended; !errors.Is(cause, ErrLost) {
			t.Error(cause)
		}
		if p, err := io.ReadAll(client); len(p) > 0 || err != nil {
			t.Errorf("%q %v", p, err)
		}
	})
}

// TestCloseWithAHandlerThatHangs: the hub's end has a limit.
func TestCloseWithAHandlerThatHangs(t *testing.T) {
	h := NewHub(Config{Limits: Limits{QueueBytes: 1 << 10, MaxMessageBytes: 1 << 10}, WantsMessages: true})
	begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	_, client := linkAs(t, h, 0, Client{Peer: hearing{
		message: func(Opcode, []byte) { close(begun); <-release }, ended: func(cause error) { ended <- cause },
	}})
	send(t, client, masked(finBit|byte(Text), "hang"))
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	closed := make(chan struct{})
	go func() { h.Close(ctx, GoingAway, errEnded); close(closed) }()
	nextIs(t, client, opClose, closePayload(GoingAway, errEnded.Error()))
	cancel()
	<-closed
	if _, err := io.ReadAll(client); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	close(release)
	<-ended // all the same, once the handler is done
}

// TestConnectionsThatComeWhileTheHubCloses are told of it.
func TestConnectionsThatComeWhileTheHubCloses(t *testing.T) {
	h := NewHub(Config{Limits: Limits{QueueBytes: 1 << 10}})
	_, first := link(t, h, 0) // keeps Close waiting
	ctx, cancel := context.WithCancel(t.Context())
	closed := make(chan struct{})
	go func() { h.Close(ctx, GoingAway, errEnded); close(closed) }()
	goodbye := closePayload(GoingAway, errEnded.Error())
	nextIs(t, first, opClose, goodbye)
	_, second := link(t, h, 0)
	nextIs(t, second, opClose, goodbye)
	cancel()
	<-closed
	_, third := link(t, h, 0)
	nextIs(t, third, opClose, goodbye)
	if _, err := third.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	eventually(t, func() bool { return h.Len() == 0 })
}

// TestCloseAt: the far future stays that, and the past is now.
func TestCloseAt(t *testing.T) {
	h := newTestHub(t, Config{Limits: Limits{PingInterval: 40 * time.Millisecond}})
	for name, tc := range map[string]struct {
		at   time.Time
		ends bool
	}{
		"2286": {time.Unix(9999999999, 0), false}, "beyond nanoseconds": {time.Unix(1<<40, 0), false},
		"1970": {time.Unix(0, 0), true}, "year 1": {time.Time{}, true}, "a second ago": {time.Now().Add(-time.Second), true},
	} {
		c, client := link(t, h, 0)
		c.CloseAt(tc.at, 4401, errEnded)
		if tc.ends {
			nextIs(t, client, opClose, closePayload(4401, errEnded.Error()))
			continue
		}
		for range 3 { // a ping is sent where nothing ends
			if op, _, p, err := readFrame(client); op != opPing {
				t.Errorf("%s: %d %q %v", name, op, p, err)
			}
			send(t, client, masked(finBit|byte(opPong), ""))
		}
	}
}

// TestCloseReasons are cut to fit a control frame, and not inside a character (RFC
// 6455, section 5.5.1).
func TestCloseReasons(t *testing.T) {
	for _, unit := range []string{"x", "é", "€", "🌡", "e\u0301"} {
		for n := range 130 {
			for shift := range 4 {
				reason := strings.Repeat(".", shift) + strings.Repeat(unit, n)
				f := closeFrame(1000, reason)
				got := string(f[4:])
				if len(f) > 2+maxControl || int(f[1]) != len(f)-2 || !utf8.ValidString(got) || !strings.HasPrefix(reason, got) ||
					len(got) != len(reason) && len(got) < maxControl-2-utf8.UTFMax {
					t.Fatalf("%q is cut to %q", reason, got)
				}
			}
		}
	}
}

// TestAttachAfterClose: what a client that does not read has yet to get is written
// still, and nothing is begun that nobody ends.
func TestAttachAfterClose(t *testing.T) {
	h := NewHub(Config{Limits: Limits{QueueBytes: 1 << 20}, CloseTimeout: time.Minute})
	h.Close(t.Context(), GoingAway, errEnded)
	server, client := tcpPair(t)
	h.Attach(server, Client{Prelude: make([]byte, 64<<20)})
	if h.engine.poller != nil {
		t.Error("a poller that nobody stops")
	}
	if n, err := io.Copy(io.Discard, client); err != nil || n < 64<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestTheClosingHandshakeIsBounded: a client that breaks the protocol, and neither closes
// nor ceases to send, is cut off when Config.CloseTimeout is over.
func TestTheClosingHandshakeIsBounded(t *testing.T) {
	const timeout = 200 * time.Millisecond
	h := newTestHub(t, Config{Limits: Limits{MaxMessageBytes: 1 << 10}, CloseTimeout: timeout})
	ended := make(chan error, 1)
	_, client := linkAs(t, h, 0, Client{Peer: hearing{message: func(Opcode, []byte) {}, ended: func(cause error) { ended <- cause }}})
	began := time.Now()
	send(t, client, masked(finBit|0x3, ""))
	if op, _, p, err := readFrame(client); op != opClose || binary.BigEndian.Uint16(p) != ProtocolError {
		t.Fatalf("%d %q %v", op, p, err)
	}
	go func() {
		for { // until it is cut off
			if _, err := client.Write([]byte("on and on")); err != nil {
				return
			}
		}
	}()
	if cause := <-ended; !errors.Is(cause, ErrProtocol) {
		t.Error(cause)
	}
	if took := time.Since(began); took < timeout {
		t.Errorf("it was cut off after %v, before its time", took)
	}
}
