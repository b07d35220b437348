package devbroker

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// Whatever a client sends, the broker does not panic, and lets go of the connection when the client has said all.
func FuzzPackets(f *testing.F) {
	for _, all := range [][]conformance{refusals, connects, malformed, bridges, wildcards, limits, flows, wills} {
		for _, c := range all {
			var sent []byte
			for line := range strings.Lines(c.talk) {
				if _, packet, found := strings.Cut(line, "> "); found {
					sent = append(sent, encode(strings.TrimSuffix(strings.TrimSpace(packet), "..."))...)
				}
			}
			f.Add(sent)
		}
	}
	b := startBroker(f, Config{}, nil)
	f.Fuzz(func(t *testing.T, sent []byte) {
		nc := dialRaw(t, b)
		_ = nc.SetDeadline(time.Now().Add(patience))
		go func() {
			_, _ = nc.Write(sent) // the broker may have hung up
			_ = nc.(*net.TCPConn).CloseWrite()
		}()
		if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
			t.Errorf("the connection stays open after %x", sent)
		}
	})
}
