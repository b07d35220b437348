//go:build unix

package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The first bytes of frames.
const (
	text, bin, cont, end, ping, pong = 0x81, 0x82, 0x80, 0x88, 0x89, 0x8a

	more = 0x7f // first & more: the message goes on in another frame
	rsv1 = 0x40
)

// rule is what a client sends, and what must come back.
type rule struct {
	section string // of RFC 6455
	name    string
	send    string
	want    []string // as frames are shown by show
}

// in joins the frames of a message that is sent in pieces.
func in(first byte, pieces ...string) (frames string) {
	for i, p := range pieces {
		if i > 0 {
			first = cont
		}
		if i < len(pieces)-1 {
			frames += frame(first&more, p)
		} else {
			frames += frame(first|0x80, p)
		}
	}
	return frames
}

func code(c uint16, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, c)) + reason
}

// bye is how a client ends that has broken no rule, and byeToo the answer.
var bye = frame(end, code(1000, ""))

const byeToo = "close 1000"

// rules are the cases of RFC 6455 that a server meets, each with an echo of
// what is sent. Without a rule broken the client closes in the end.
func rules() (all []rule) {
	add := func(section, name, send string, want ...string) {
		all = append(all, rule{section, name, send, want})
	}
	fine := func(section, name, send string, want ...string) {
		add(section, name, send+bye, append(want, byeToo)...)
	}
	wrong := func(section, name, send string, want ...string) {
		add(section, name, send+bye, append(want, "close 1002")...)
	}
	echo := func(first byte, payload string) string { return show(first, []byte(payload)) }

	for _, n := range []int{0, 1, 125, 126, 127, 128, 65535, 65536, 100_000, 128 << 10} {
		p := strings.Repeat("*", n)
		fine("5.2", fmt.Sprintf("text of %d bytes", n), frame(text, p), echo(text, p))
		p = strings.Repeat("\xfe", n)
		fine("5.2", fmt.Sprintf("%d bytes", n), frame(bin, p), echo(bin, p))
	}
	for _, reserved := range []byte{1, 2, 3, 4, 5, 6, 7} {
		for _, first := range []byte{text, bin, ping, pong, end} {
			wrong("5.2", fmt.Sprintf("reserved bits %d with opcode %d", reserved, first&0xf),
				frame(text, "before")+frame(first|reserved<<4, "")+frame(ping, ""), echo(text, "before"))
		}
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		wrong("5.2", fmt.Sprintf("reserved opcode %d", op), frame(0x80|op, ""))
		wrong("5.2", fmt.Sprintf("reserved opcode %d behind a message", op), frame(text, "before")+frame(0x80|op, "payload")+frame(ping, ""), echo(text, "before"))
	}
	wrong("5.2", "a length in two bytes that fits into seven bits", "\x82\xfe\x00\x7d\x00\x00\x00\x00"+strings.Repeat("x", 125))
	wrong("5.2", "a length in eight bytes that fits into two", "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00")
	wrong("5.2", "a length above 2^63", "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00")
	add("10.4", "a frame that claims 2^40 bytes, refused at its header", "\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00", "close 1009")
	add("10.4", "a message above the limit", frame(bin, strings.Repeat("x", 128<<10+1)), "close 1009")
	add("10.4", "a message above the limit in pieces", in(bin, strings.Repeat("x", 128<<10), "x"), "close 1009")
	wrong("5.1", "a frame that is not masked", "\x81\x02hi")
	wrong("5.1", "a ping that is not masked", "\x89\x00")

	fine("5.4", "two pieces", in(text, "frag", "ment"), echo(text, "fragment"))
	fine("5.4", "empty pieces", in(text, "", "", ""), echo(text, ""))
	fine("5.4", "empty pieces about one that is not", in(text, "", "middle", ""), echo(text, "middle"))
	fine("5.4", "pieces of one byte", in(bin, strings.Split("piecemeal", "")...), echo(bin, "piecemeal"))
	fine("5.4", "a ping between pieces", frame(text&more, "frag")+frame(ping, "now")+frame(cont, "ment"), echo(pong, "now"), echo(text, "fragment"))
	fine("5.4", "pings between many pieces", frame(text&more, "a")+frame(cont&more, "b")+frame(ping, "1")+frame(cont&more, "c")+frame(cont&more, "d")+frame(ping, "2")+frame(cont, "e"),
		echo(pong, "1"), echo(pong, "2"), echo(text, "abcde"))
	for _, size := range []int{64, 256, 1300, 4096, 32 << 10} {
		p := strings.Repeat("0123456789abcdef", 65536/16)
		var pieces []string
		for piece := range slices.Chunk([]byte(p), size) {
			pieces = append(pieces, string(piece))
		}
		fine("5.4", fmt.Sprintf("65536 bytes in pieces of %d", size), in(bin, pieces...), echo(bin, p))
	}
	for name, first := range map[string]byte{"a continuation": cont, "a continuation that is not the last": cont & more} {
		wrong("5.4", name+" of nothing", frame(first, "alone")+frame(text, "more"))
		wrong("5.4", name+" behind a whole message", in(text, "frag", "ment")+frame(first, "alone"), echo(text, "fragment"))
	}
	wrong("5.4", "a message within another", frame(text&more, "one")+frame(text, "two"))
	wrong("5.4", "the beginning of a message within another", frame(text&more, "one")+frame(bin&more, "two")+frame(cont, "three"))

	fine("5.5", "a ping in pieces of one byte", frame(ping, strings.Repeat("\xfe", 125)), echo(pong, strings.Repeat("\xfe", 125)))
	for _, c := range []byte{ping, pong, end} {
		wrong("5.5", fmt.Sprintf("a control frame %x that is not the last of its message", c), frame(c&more, "in")+frame(cont, "pieces"))
		wrong("5.5", fmt.Sprintf("a control frame %x of 126 bytes", c), frame(c, code(1000, strings.Repeat("x", 124))))
	}
	fine("5.5.2", "an empty ping", frame(ping, ""), echo(pong, ""))
	fine("5.5.2", "a ping with text", frame(ping, "hello"), echo(pong, "hello"))
	fine("5.5.2", "a ping with bytes", frame(ping, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), echo(pong, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"))
	var pings string
	var pongs []string
	for i := range 10 {
		pings += frame(ping, fmt.Sprint(i))
		pongs = append(pongs, echo(pong, fmt.Sprint(i)))
	}
	fine("5.5.2", "ten pings", pings, pongs...)
	fine("5.5.3", "pongs that nobody asked for", frame(pong, "")+frame(pong, "unasked"))
	fine("5.5.3", "a pong, then a ping", frame(pong, "unasked")+frame(ping, "asked"), echo(pong, "asked"))

	add("5.5.1", "a Close frame without a code", frame(end, ""), "close")
	fine("5.5.1", "a message, then a Close frame", frame(text, "last"), echo(text, "last"))
	add("5.5.1", "two Close frames", bye+bye, byeToo)
	add("5.5.1", "a ping behind the Close frame", bye+frame(ping, "too late"), byeToo)
	add("5.5.1", "a message behind the Close frame", bye+frame(text, "too late"), byeToo)
	add("5.5.1", "a Close frame within a message", frame(text&more, "half")+bye+frame(cont, "other half"), byeToo)
	add("5.5.1", "a reason", frame(end, code(1000, "well")), byeToo)
	add("5.5.1", "the longest reason", frame(end, code(1000, strings.Repeat("*", 123))), byeToo)
	wrong("5.5.1", "half a code", frame(end, "\x03"))
	add("8.1", "a reason that is not UTF-8", frame(end, "\x03\xe8\xce\xba\xed\xa0\x80"), "close 1007")
	for _, c := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		add("7.4", fmt.Sprintf("code %d", c), frame(end, code(c, "")), fmt.Sprint("close ", c))
	}
	for _, c := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		wrong("7.4", fmt.Sprintf("code %d", c), frame(end, code(c, "")))
	}
	for _, s := range texts() {
		octets := in(text, strings.Split(s, "")...) // of Go's: an invalid byte is a piece of its own
		var single []string
		for _, b := range []byte(s) {
			single = append(single, string([]byte{b}))
		}
		sends := map[string]string{"whole": frame(text, s), "by character": octets, "by byte": in(text, single...)}
		for how, send := range sends {
			if name := fmt.Sprintf("%q %s", s, how); utf8.ValidString(s) {
				fine("8.1", name, send, echo(text, s))
			} else {
				add("8.1", name, send, "close 1007")
			}
		}
	}
	return all
}

// texts are what RFC 3629 allows, and what it does not: each alone and amid
// characters that are whole.
func texts() (all []string) {
	for _, s := range []string{
		"κόσμε", "Hello-µ@ßöäüàá-UTF-8!!", "\x00", "\u0080", "\u0800", "\U00010000", // the first of each length
		"\x7f", "\u07ff", "\uffff", "\ud7ff", "\ue000", "\ufffd", "\U0010ffff", // the last, and about the surrogates
		"\uFFF9\uFFFA\uFFFB\uFFFC", "\ufffe", "\U0001fffe", "\U000fffff", "\U0010fffe", // no characters, and yet UTF-8
		"\xce", "\xce\xba\xe1", "\xce\xba\xe1\xbd", // that end within a character
		"\x80", "\xbf", "\x80\xbf\x80\xbf\x80\xbf", // continuation bytes alone
		"\xc0 \xc1 ", "\xe0 \xe1 ", "\xf0 \xf7 ", "\xf8 ", "\xfc ", // first bytes alone
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", // the last byte is missing
		"\xfe", "\xff", "\xfe\xfe\xff\xff", // never
		"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xf7\xbf\xbf\xbf", // beyond U+10FFFF
		"\xf4\x90\x80\x80", "\xfb\xbf\xbf\xbf\xbf", // so, too
		"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", // longer than need be
		"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", // so, too
		"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", // surrogates
	} {
		all = append(all, s, "κόσμε"+s+"ende")
	}
	return all
}

// show is a frame as the rules give it.
func show(first byte, payload []byte) string {
	body := fmt.Sprintf("%q", payload)
	if len(payload) > 40 {
		body = fmt.Sprintf("%d bytes, %08x", len(payload), crc32.ChecksumIEEE(payload))
	}
	switch first & 0xf {
	case 0x1:
		return "text " + body
	case 0x2:
		return "binary " + body
	case 0x8:
		if len(payload) < 2 {
			return "close"
		}
		return fmt.Sprint("close ", binary.BigEndian.Uint16(payload))
	case 0x9:
		return "ping " + body
	case 0xa:
		return "pong " + body
	}
	return fmt.Sprintf("%x %s", first, body)
}

// messages puts the frames of a server together.
func messages(t *testing.T, frames []byte) (all []string) {
	t.Helper()
	var first byte
	var data []byte
	for r := bytes.NewReader(frames); r.Len() > 0; {
		head, payload, err := readFrame(r)
		if err != nil {
			t.Fatalf("half a frame: %v in %.100q", err, frames)
		}
		if head&0x8 != 0 { // control frames come between others
			all = append(all, show(head, payload))
			continue
		}
		if head&0xf != 0 {
			first, data = head, nil
		}
		data = append(data, payload...)
		if head&0x80 != 0 {
			all = append(all, show(first, data))
		}
	}
	return all
}

// readFrame reads a frame of a server, which is not masked (section 5.1).
func readFrame(r io.Reader) (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1])
	switch size {
	case 126:
		var n uint16
		err = binary.Read(r, binary.BigEndian, &n)
		size = uint64(n)
	case 127:
		err = binary.Read(r, binary.BigEndian, &size)
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	_, err = io.ReadFull(r, payload)
	return head[0], payload, err
}

// echoing starts a gateway that sends back what it gets.
func echoing(t testing.TB, compression bool) *Gateway {
	g, _ := start(t, func(c *Config) {
		c.Routes[0].Compression = compression
		c.Routes[0].Limits.MaxMessageBytes = 128 << 10
		c.Routes[0].Handlers.Timeout = time.Minute
		c.Routes[0].Handlers.Message = func(_ context.Context, _ *Connection, m Message) ([]Message, error) {
			return []Message{m}, nil
		}
	})
	return g
}

// TestRFC6455: whatever a client sends, whole and in pieces of any size, is
// answered as the standard says.
func TestRFC6455(t *testing.T) {
	g := echoing(t, false)
	for _, r := range rules() {
		for _, piece := range []int{len(r.send), 1, 997} {
			if piece == 1 && len(r.send) > 2000 || piece == 997 && len(r.send) < 2000 {
				continue
			}
			got := messages(t, converse(t, g, handshake, []byte(r.send), piece).frames)
			if !slices.Equal(got, r.want) {
				t.Errorf("section %s: %s, in pieces of %d: got %q, want %q", r.section, r.name, piece, got, r.want)
			}
		}
	}
}

// frame is one from a client. Its masking key is that of the standard's examples
// (section 5.7).
func frame(first byte, payload string) string {
	f := []byte{first}
	switch n := len(payload); {
	case n < 126:
		f = append(f, 0x80|byte(n))
	case n < 1<<16:
		f = binary.BigEndian.AppendUint16(append(f, 0x80|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, 0x80|127), uint64(n))
	}
	key := []byte{0x37, 0xfa, 0x21, 0x3d}
	f = append(f, key...)
	for i := range len(payload) {
		f = append(f, payload[i]^key[i&3])
	}
	return string(f)
}

// answer is what a gateway sent on one connection.
type answer struct{ head, frames []byte }

// converse opens a connection, sends p in pieces of a size, and then no more.
func converse(t *testing.T, g *Gateway, header http.Header, p []byte, piece int) answer {
	t.Helper()
	server, client := socketPair(t)
	defer func() { _ = client.Close() }()
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gateway/a", nil)
	req.Header, req.RemoteAddr = header, "127.0.0.1:1"
	g.ServeHTTP(hijackable{nc: server, header: http.Header{}}, req)
	sent := make(chan struct{})
	go func() { // what comes back may not fit into the socket
		defer close(sent)
		for part := range slices.Chunk(p, max(piece, 1)) {
			if _, err := client.Write(part); err != nil {
				return // it closed at a breach before the end
			}
		}
		if c, ok := client.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}()
	all, err := io.ReadAll(client)
	if err != nil && !strings.Contains(err.Error(), "reset by peer") {
		t.Fatalf("the connection does not end: %v", err)
	}
	<-sent
	head, frames, ok := bytes.Cut(all, []byte("\r\n\r\n"))
	if !ok || !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
		t.Fatalf("no handshake: %q", all)
	}
	return answer{head, frames}
}
