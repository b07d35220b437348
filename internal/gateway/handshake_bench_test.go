package gateway

import (
	"net"
	"testing"
)

// BenchmarkHandshake opens connections, as after a restart. It includes the
// client's side of the sockets.
func BenchmarkHandshake(b *testing.B) {
	g := startGateway(b, new(record).observe, nil)
	request := []byte("GET /a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	answer := make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		nc, err := net.Dial("tcp", g.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		_, _ = nc.Write(request)
		if n, err := nc.Read(answer); err != nil || n < 12 || string(answer[9:12]) != "101" {
			b.Fatalf("%s %v", answer[:n], err)
		}
		_ = nc.(*net.TCPConn).SetLinger(0)
		_ = nc.Close()
	}
}
