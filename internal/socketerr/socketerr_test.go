package socketerr

import (
	"errors"
	"io"
	"net"
	"testing"
)

// What sockets of this system return, since its numbers are what differs.
func TestErrorsOfSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := net.Listen("tcp", l.Addr().String()); !IsInUse(err) || IsReset(err) {
		t.Errorf("a second listener: %v", err)
	}

	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = server.(*net.TCPConn).SetLinger(0) // closes with a RST
	_ = server.Close()
	if _, err := client.Read(make([]byte, 1)); !IsReset(err) || IsInUse(err) {
		t.Errorf("reading after a reset: %v", err)
	}
	for err == nil {
		_, err = client.Write([]byte{0})
	}
	if !IsReset(err) {
		t.Errorf("writing after a reset: %v", err)
	}
	_ = l.Close()
	if _, err := net.Dial("tcp", l.Addr().String()); !IsRefused(err) || IsReset(err) {
		t.Errorf("dialling where nobody listens: %v", err)
	}
	if IsReset(io.EOF) || IsRefused(io.EOF) || IsInUse(errors.New("other")) {
		t.Error("others are none")
	}
}
