package gateway

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

var (
	errProtocol   = errors.New("protocol error")
	errShutdown   = errors.New("server is shutting down")
	errRestart    = errors.New("service restart: connect again")
	errFrameSize  = errors.New("frame too big")
	errUTF8       = errors.New("text that is not UTF-8")
	errExpired    = errors.New("token expired")
	errDisconnect = errors.New("disconnected")
)

// frameGuard follows the frames that a client sends (RFC 6455, section 5.2), by
// their headers alone, to find one that is too large. The library reads messages
// and does not tell of their frames.
type frameGuard struct {
	header [10]byte
	have   int    // bytes of header
	skip   uint64 // bytes of masking key and payload before the next header
}

// pass takes the next bytes from the client and returns the payload length of
// the largest frame that begins in them, as far as is known.
func (g *frameGuard) pass(p []byte) (largest uint64) {
	for len(p) > 0 {
		if g.skip > 0 {
			n := min(g.skip, uint64(len(p)))
			g.skip -= n
			p = p[n:]
			continue
		}
		g.header[g.have] = p[0]
		g.have++
		p = p[1:]
		if size, ok := g.size(); ok {
			largest = max(largest, size)
			g.have, g.skip = 0, size
			if g.header[1]&0x80 != 0 && size < 1<<63 {
				g.skip += 4 // masking key
			}
		}
	}
	return largest
}

func (g *frameGuard) size() (uint64, bool) {
	if g.have < 2 {
		return 0, false
	}
	switch n := g.header[1] & 0x7f; {
	case n < 126:
		return uint64(n), true
	case n == 126 && g.have == 4:
		return uint64(binary.BigEndian.Uint16(g.header[2:])), true
	case n == 127 && g.have == 10:
		return binary.BigEndian.Uint64(g.header[2:]), true
	}
	return 0, false
}

// textGuard is a writer that fails at text that is not UTF-8 (RFC 6455, section
// 8.1). A character may come in pieces.
type textGuard struct {
	start [utf8.UTFMax]byte // of a character
	have  int
}

// Write implements io.Writer.
func (g *textGuard) Write(p []byte) (int, error) {
	n := len(p)
	for g.have > 0 && len(p) > 0 {
		g.start[g.have] = p[0]
		g.have++
		p = p[1:]
		if !utf8.FullRune(g.start[:g.have]) {
			continue
		}
		if !utf8.Valid(g.start[:g.have]) {
			return 0, errUTF8
		}
		g.have = 0
	}
	whole := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if utf8.RuneStart(p[len(p)-back]) {
			if !utf8.FullRune(p[len(p)-back:]) {
				whole = len(p) - back
			}
			break
		}
	}
	if !utf8.Valid(p[:whole]) {
		return 0, errUTF8
	}
	g.have += copy(g.start[g.have:], p[whole:])
	return n, nil
}

// end tells whether the text ended with a character.
func (g *textGuard) end() error {
	if g.have > 0 {
		return errUTF8
	}
	return nil
}
