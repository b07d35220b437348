package devbroker

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
)

// What is wrong is found at the same packet, whatever pieces it comes in, and nothing is kept of what is complete.
func TestPieces(t *testing.T) {
	for _, p := range ours(passages(t, subjects)) {
		var sent []byte
		for _, l := range p.talk {
			switch {
			case l.who != "a":
			case l.what == '>':
				sent = append(sent, encode(l.packet)...)
			case l.what == '!':
				sent = append(sent, encodeFields(l.packet)...)
			case l.packet == "connect 5":
				sent = append(sent, encode(`10 "MQTT" 05 02 003c 00 "a"`)...)
			case l.packet == "connect 3.1.1":
				sent = append(sent, encode(`10 "MQTT" 04 02 003c "a"`)...)
			}
		}
		whole := new(checker)
		want, wantWhy := whole.check(sent)
		for _, size := range []int{1, 7, 1000} {
			var (
				pieces  checker
				got, at int
			)
			for at < len(sent) {
				piece := sent[at:min(at+size, len(sent))]
				n, why := pieces.check(piece)
				at += len(piece)
				got += n
				if why != nil || at == len(sent) {
					if (why == nil) != (wantWhy == nil) || why != nil && (*why != *wantWhy || got < want || got >= at) {
						t.Errorf("%s, %d bytes at once: %v after %d bytes, want %v after %d", p, size, why, got, wantWhy, want)
					}
					break
				}
			}
			if wantWhy == nil && len(pieces.begun) > 0 {
				t.Errorf("%s: %d bytes are kept", p, len(pieces.begun))
			}
		}
	}
}

// The longest CONNECT of MQTT 3.1.1 is taken, and one that is announced as longer than any is not waited for.
func TestLongConnect(t *testing.T) {
	b := startBroker(t, Config{}, nil)
	long := `"` + strings.Repeat("x", math.MaxUint16) + `"`
	c := &talker{nc: dialRaw(t, b)}
	must(t, c.exchange(fmt.Sprintf(`10 "MQTT" 04 c6 003c %s %s %s %s %s`, long, long, long, long, long), "20 00 00"))
	c = &talker{nc: dialRaw(t, b)}
	c.send(binary.AppendUvarint([]byte{0x10}, maxConnectBytes+1))
	must(t, c.receive("end"))
}
