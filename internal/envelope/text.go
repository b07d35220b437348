package envelope

import (
	"time"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string (RFC 8259 section 7), escaped the way encoding/json does without HTML escaping:
// U+2028 and U+2029 are escaped too, since they end a line in older JavaScript, and invalid UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if isPlain(s) {
		dst = append(dst, s...)
	} else {
		dst = appendEscaped(dst, s)
	}
	return append(dst, '"')
}

func appendEscaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, width := utf8.DecodeRuneInString(s[i:])
		dst = appendRune(dst, r, s[i:i+width])
		i += width
	}
	return dst
}

// sizeString returns the length of s as a JSON string.
func sizeString(s string) int {
	size := len(`""`)
	if isPlain(s) {
		return size + len(s)
	}
	var scratch [len(`\u0000`)]byte
	for i := 0; i < len(s); {
		r, width := utf8.DecodeRuneInString(s[i:])
		size += len(appendRune(scratch[:0], r, s[i:i+width]))
		i += width
	}
	return size
}

// appendRune appends the rune r, decoded from raw, as a part of a JSON string.
func appendRune(dst []byte, r rune, raw string) []byte {
	if short := shortEscape(r); short != 0 {
		return append(dst, '\\', short)
	}
	invalid := r == utf8.RuneError && len(raw) == 1
	if r < ' ' || r == '\u2028' || r == '\u2029' || invalid {
		return append(dst, '\\', 'u', hexDigits[r>>12&0xf], hexDigits[r>>8&0xf], hexDigits[r>>4&0xf], hexDigits[r&0xf])
	}
	return append(dst, raw...)
}

// shortEscape returns the letter of a rune's two-character escape, and 0 for a rune without one.
func shortEscape(r rune) byte {
	switch r {
	case '"', '\\':
		return byte(r)
	case '\b':
		return 'b'
	case '\f':
		return 'f'
	case '\n':
		return 'n'
	case '\r':
		return 'r'
	case '\t':
		return 't'
	}
	return 0
}

// isPlain reports whether s is printable ASCII that JSON takes as it is, as nearly all IDs and topics are. It looks at
// eight bytes at a time, since it is called for every string of every message, twice.
func isPlain(s string) bool {
	const (
		low  = 0x0101010101010101
		high = 0x8080808080808080
	)
	for len(s) >= 8 {
		x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		// Each term has the high bit set in a byte that is not plain: beyond ASCII, below space, a quote, a backslash. A
		// borrow can only begin in such a byte, so it never makes a plain string look otherwise.
		quote, backslash := x^low*'"', x^low*'\\'
		if (x|(x-low*' ')|(quote-low)|(backslash-low))&high != 0 {
			return false
		}
		s = s[8:]
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// appendTime appends t as a JSON string: RFC 3339, UTC, up to nine digits of a second, Z.
func appendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

// The years that RFC 3339 can write, in seconds since 1970.
const (
	firstSecond = -62167219200 // 0000-01-01T00:00:00Z
	pastSecond  = 253402300800 // the first after 9999-12-31T23:59:59Z
)

// sizeTime returns the length of t as a JSON string.
func sizeTime(t time.Time) int {
	if s := t.Unix(); s < firstSecond || s >= pastSecond {
		return len(appendTime(nil, t)) // not RFC 3339 any more, but the size must hold
	}
	size := len(`"2006-01-02T15:04:05Z"`)
	fraction := t.Nanosecond()
	if fraction == 0 {
		return size
	}
	size += len(".000000000")
	for ; fraction%10 == 0; fraction /= 10 {
		size-- // trailing zeros are left out
	}
	return size
}
