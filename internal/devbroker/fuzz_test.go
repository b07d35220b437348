package devbroker

import (
	"io"
	"net"
	"testing"
	"time"
)

// Whatever a client sends, the broker does not panic, and lets go of the connection when the client has said all.
func FuzzPackets(f *testing.F) {
	for _, p := range passages(f, subjects) {
		var sent []byte
		for _, l := range p.talk {
			switch l.what {
			case '>':
				sent = append(sent, encode(l.packet)...)
			case '!':
				sent = append(sent, encodeFields(l.packet)...)
			}
		}
		f.Add(sent)
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
