//go:build unix

package gateway

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// deflated is a message as a client compresses it (RFC 7692, section 7.2.1).
func deflated(t *testing.T, level int, payload []byte) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err == nil {
		_, err = w.Write(payload)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// offering is a handshake with offers of extensions, a line each.
func offering(offers ...string) http.Header {
	h := handshake.Clone()
	h["Sec-Websocket-Extensions"] = offers
	return h
}

// TestOffersOfCompression: which are accepted, and with which parameters (RFC 7692,
// section 7.1).
func TestOffersOfCompression(t *testing.T) {
	const plain = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
	g := echoing(t, true)
	for offer, want := range map[string]string{
		"permessage-deflate": plain,
		"permessage-deflate; client_no_context_takeover; server_no_context_takeover": plain,
		"permessage-deflate; client_max_window_bits":                                 plain,
		"permessage-deflate; client_max_window_bits=8":                               plain,
		`permessage-deflate; client_max_window_bits="15"`:                            plain,
		"permessage-deflate; server_max_window_bits=15":                              plain + "; server_max_window_bits=15",
		"permessage-deflate; server_max_window_bits=10":                              "", // Go writes with the largest window
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":          plain,
		"x-webkit-deflate-frame, permessage-deflate":                                 plain,
		"x-webkit-deflate-frame":                                                     "",
		"":                                                                           "",
		"permessage-deflate; server_max_window_bits":                                 "",
		"permessage-deflate; server_max_window_bits=16":                              "",
		"permessage-deflate; server_max_window_bits=015":                             "",
		"permessage-deflate; client_max_window_bits=7":                               "",
		"permessage-deflate; client_max_window_bits=":                                "",
		"permessage-deflate; client_no_context_takeover=1":                           "",
		"permessage-deflate; unknown":                                                "",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": "",
		"permessage-deflate; client_max_window_bits=10; client_max_window_bits=10":   "",
		"permessage-deflate; ":                                                       "",
	} {
		a := converse(t, g, offering(offer), []byte(bye), 1000)
		got := ""
		for line := range strings.SplitSeq(string(a.head), "\r\n") {
			if name, value, _ := strings.Cut(line, ": "); strings.EqualFold(name, "Sec-WebSocket-Extensions") {
				got = value
			}
		}
		if got != want {
			t.Errorf("%q is answered with %q, want %q", offer, got, want)
		}
	}
}

// TestCompressedMessages: what a client compresses, at any level and in any pieces,
// comes back as it was, and what is no compressed message closes with a code.
func TestCompressedMessages(t *testing.T) {
	g := echoing(t, true)
	noise := make([]byte, 128<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	ask := func(send string, piece int) []byte {
		return converse(t, g, offering("permessage-deflate"), []byte(send+bye), piece).frames
	}
	for _, n := range []int{0, 64, 1024, 8192, 128 << 10} {
		for name, payload := range map[string][]byte{"noise": noise[:n], "readings": bytes.Repeat([]byte(`{"t":21.5}`), n/10)} {
			for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.BestCompression, flate.HuffmanOnly} {
				small := deflated(t, level, payload)
				half := len(small) / 2
				send := in(bin|rsv1, small) + in(bin|rsv1, small[:half], small[half:]) +
					frame(bin&more|rsv1, small[:half]) + frame(ping, "") + frame(cont, small[half:])
				got := inflatedMessages(t, ask(send, max(len(send)/3, 1)))
				if want := strings.Repeat(show(bin, payload)+"\n", 3) + byeToo + "\n"; got != want {
					t.Errorf("%d bytes of %s, level %d: %.200s", n, name, level, got)
				}
			}
		}
	}
	bomb := deflated(t, flate.BestCompression, make([]byte, 16<<20))
	for name, tc := range map[string]struct{ send, want string }{
		"no compressed data":                {frame(bin|rsv1, "\xff\xff\xff"), "close 1002\n"},
		"compressed text that is not UTF-8": {frame(text|rsv1, deflated(t, flate.BestSpeed, []byte("\xff"))), "close 1007\n"},
		"16 MiB in 16 KiB":                  {frame(bin|rsv1, bomb), "close 1009\n"},
		"rsv1 in a continuation":            {frame(bin&more|rsv1, "") + frame(cont|rsv1, ""), "close 1002\n"},
		"rsv1 in a ping":                    {frame(ping|rsv1, ""), "close 1002\n"},
		"not compressed":                    {frame(text, "plain"), show(text, []byte("plain")) + "\n" + byeToo + "\n"},
	} {
		if got := inflatedMessages(t, ask(tc.send, 1000)); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
	if len(bomb) > 128<<10 {
		t.Fatal("the bomb is too large for the limit on what comes in")
	}
}

// inflatedMessages are the messages of a server, decompressed, and its Close frame.
func inflatedMessages(t *testing.T, frames []byte) string {
	t.Helper()
	var all strings.Builder
	var first byte
	var data []byte
	for r := bytes.NewReader(frames); r.Len() > 0; {
		head, payload, err := readFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		if head&0xf == pong&0xf {
			continue
		}
		if head&0xf != 0 {
			first, data = head, nil
		}
		if data = append(data, payload...); head&0x80 == 0 {
			continue
		}
		if first&rsv1 != 0 {
			if data, err = io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(data), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprintln(&all, show(first&^rsv1, data))
	}
	return all.String()
}
