package board

import (
	"encoding/base64"
	"math/rand/v2"
	"strconv"
	"time"
)

// Every payload begins with a mark, the time of its publication: T, nanoseconds
// since 1970 in 19 digits, and a semicolon. In base64 that is 28 characters with
// nothing of what follows in them.
const (
	MarkLen    = 21
	MarkBase64 = 28
)

// AppendPayload appends a payload of size bytes, marked with the present time and
// filled with readings, which compress as those of devices do.
func AppendPayload(dst []byte, size int) []byte {
	from := len(dst)
	dst = append(dst, 'T')
	dst = strconv.AppendInt(dst, time.Now().UnixNano(), 10)
	dst = append(dst, ';')
	for len(dst)-from < size {
		dst = append(dst, `"temperature":`...)
		dst = strconv.AppendFloat(dst, 20+10*rand.Float64(), 'f', 2, 64)
		dst = append(dst, ',')
	}
	return dst[:max(from+size, from+MarkLen)]
}

// Published is the time in the mark at the start of payload.
func Published(payload []byte) (nano int64, ok bool) {
	if len(payload) < MarkLen || payload[0] != 'T' || payload[MarkLen-1] != ';' {
		return 0, false
	}
	for _, c := range payload[1 : MarkLen-1] {
		if c < '0' || c > '9' {
			return 0, false
		}
		nano = nano*10 + int64(c-'0')
	}
	return nano, true
}

// PublishedBase64 is the same for a payload in base64.
func PublishedBase64(text []byte) (nano int64, ok bool) {
	var mark [MarkLen]byte
	if len(text) < MarkBase64 {
		return 0, false
	}
	if _, err := base64.StdEncoding.Decode(mark[:], text[:MarkBase64]); err != nil {
		return 0, false
	}
	return Published(mark[:])
}
