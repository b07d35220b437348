package fanout

import (
	"bufio"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// heard is what a reader finds.
type heard struct {
	events   []string // all, pings included
	messages []said
}

type said struct {
	op   Opcode
	data string
}

func (h *heard) onPing(payload []byte) { h.events = append(h.events, fmt.Sprintf("ping %q", payload)) }

func (h *heard) onMessage(op Opcode, data []byte, _ int64) {
	h.events = append(h.events, fmt.Sprintf("%d %q", op, data))
	h.messages = append(h.messages, said{op, string(data)})
}

const readerLimit = 1000 // bytes of a message

// hear gives p to a reader in pieces, of which next tells the sizes.
func hear(p []byte, deflate bool, next func() int) (*heard, error) {
	h, r := new(heard), reader{gather: true, deflate: deflate}
	for p = slices.Clone(p); len(p) > 0; {
		n := min(max(next(), 1), len(p))
		if err := r.feed(p[:n], &Limits{MaxMessageBytes: readerLimit}, h); err != nil {
			return h, err
		}
		p = p[n:]
	}
	return h, nil
}

// kind is what a reader's error closes with.
func kind(err error) string {
	for _, known := range []error{ErrProtocol, ErrUTF8, ErrTooBig} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return fmt.Sprint(err)
}

// tape is a connection from which comes what is on it.
type tape struct {
	http.ResponseWriter
	io.Reader
}

func (t tape) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return t, bufio.NewReadWriter(bufio.NewReader(t), bufio.NewWriter(t)), nil
}

func (tape) Write(p []byte) (int, error)      { return len(p), nil }
func (tape) Close() error                     { return nil }
func (tape) LocalAddr() net.Addr              { return nil }
func (tape) RemoteAddr() net.Addr             { return nil }
func (tape) SetDeadline(time.Time) error      { return nil }
func (tape) SetReadDeadline(time.Time) error  { return nil }
func (tape) SetWriteDeadline(time.Time) error { return nil }

// hearByLibrary reads p with the library's reader.
func hearByLibrary(t *testing.T, p []byte, deflate bool) (messages []said, err error) {
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	req.Header = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	options := &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled}
	if deflate {
		req.Header.Set("Sec-Websocket-Extensions", "permessage-deflate; client_no_context_takeover")
		options.CompressionMode = websocket.CompressionNoContextTakeover
	}
	// io.EOF the library takes for the end of the message that came in.
	all := io.MultiReader(bytes.NewReader(p), iotest.ErrReader(net.ErrClosed))
	c, err := websocket.Accept(tape{httptest.NewRecorder(), all}, req, options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	c.SetReadLimit(readerLimit)
	for {
		op, data, err := c.Read(t.Context())
		if err != nil {
			return messages, err
		}
		messages = append(messages, said{Opcode(op), string(data)})
	}
}

// compress compresses text as a client does (RFC 7692, section 7.2.1).
func compress(t testing.TB, text string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// FuzzReader: whatever a client sends, in whatever pieces, is what the library's
// reader makes of it, up to where ours is stricter: a length must be written in as
// few bytes as it takes (RFC 6455, section 5.2), and text must be UTF-8 (section 8.1).
func FuzzReader(f *testing.F) {
	m := func(first byte, payload string) string { return string(masked(first, payload)) }
	small := compress(f, strings.Repeat("reading ", 100))
	for _, seed := range []string{
		"", m(0x81, "text") + m(0x82, "\xff\xfe") + m(0x88, "\x03\xe8bye"),
		m(0x01, "in ") + m(0x89, "now") + m(0x00, "three ") + m(0x8a, "") + m(0x80, "pieces"),
		m(0x01, "\xe2\x82") + m(0x80, "\xac") + m(0x81, ""), m(0x01, "\xf0\x9f") + m(0x00, "") + m(0x80, "\x92"), m(0x81, "\xed\xa0\x80"),
		m(0x82, strings.Repeat("x", 1000)) + m(0x82, strings.Repeat("x", 1001)),
		m(0x02, strings.Repeat("x", 600)) + m(0x80, strings.Repeat("x", 401)),
		m(0x81, "\x00") + "\x81\x84\x37\xfa\x21\x3d\x7f\x9f\x4d\x51" + "\x82\xfe\x00\x01\x00\x00\x00\x00x", "\x81\x02hi",
		m(0x83, ""), m(0x80, "alone"), m(0x01, "") + m(0x81, "within"), m(0x09, ""),
		m(0x89, strings.Repeat("x", 126)), m(0xa1, ""), m(0xc9, ""),
		m(0x88, "\x03"), m(0x88, ""), m(0x88, "\x03\xed"), m(0x88, "\x03\xe8\xff"),
		"\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00", "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",
		m(0xc1, small) + m(0x81, "plain") + m(0xc2, small), m(0x41, small[:5]) + m(0x89, "") + m(0x80, small[5:]),
		m(0xc1, ""), m(0xc1, "\xff"), m(0xc1, "\x00"),
		m(0xc1, compress(f, "\xff")), m(0xc2, compress(f, strings.Repeat("x", 1001))), m(0xc2, compress(f, strings.Repeat("x", 1000))),
	} {
		f.Add([]byte(seed), uint64(len(seed)), false)
		f.Add([]byte(seed), uint64(len(seed)), true)
	}
	f.Fuzz(func(t *testing.T, p []byte, seed uint64, deflate bool) {
		ours, err := hear(p, deflate, func() int { return len(p) })
		random := rand.New(rand.NewPCG(seed, 0))
		for name, next := range map[string]func() int{
			"bytes":        func() int { return 1 },
			"pieces":       func() int { return random.IntN(20) },
			"large pieces": func() int { return random.IntN(400) },
		} {
			if got, e := hear(p, deflate, next); !slices.Equal(got.events, ours.events) || kind(e) != kind(err) {
				t.Fatalf("in %s: %q, %v\nwhole: %q, %v", name, got.events, e, ours.events, err)
			}
		}

		theirs, libraryErr := hearByLibrary(t, p, deflate)
		n := min(len(ours.messages), len(theirs))
		if !slices.Equal(ours.messages[:n], theirs[:n]) {
			t.Fatalf("ours: %q\ntheirs: %q", ours.messages, theirs)
		}
		by, closed := errors.AsType[ClosedByPeer](err)
		stricter := kind(err) == ErrUTF8.Error() || err != nil && strings.Contains(err.Error(), "more bytes than it needs")
		switch {
		case len(ours.messages) > n && !deflate:
			t.Fatalf("the library refuses what ours takes: %v\nours: %q", libraryErr, ours.messages[n:])
		case len(theirs) > n && !stricter && !deflate:
			t.Fatalf("ours refuses what the library takes: %v\ntheirs: %q", err, theirs[n:])
		case closed && !deflate && int(websocket.CloseStatus(libraryErr)) != int(by.Code):
			t.Fatalf("ours takes a Close frame with %d, the library: %v", by.Code, libraryErr)
		}
		for _, m := range ours.messages {
			if m.op == Text && !utf8.ValidString(m.data) {
				t.Fatalf("text that is not UTF-8: %q", m.data)
			}
		}
	})
}
