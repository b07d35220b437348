package mqttclient

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"time"
)

// TestGathererLosesNothing of a stream that makes it rest, nor of what comes after,
// though the kernel was not to tell of so little.
func TestGathererLosesNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	nc, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn := gather(nc).(*gatherer)
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}

	var want bytes.Buffer
	for i := range 20_000 {
		want.WriteString(strconv.Itoa(i))
	}
	go func() {
		for i := range 20_000 {
			_, _ = peer.Write(strconv.AppendInt(nil, int64(i), 10))
		}
	}()
	got := make([]byte, want.Len())
	for n := 0; n < len(got); {
		m, err := conn.Read(got[n:min(n+4096, len(got))])
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("the bytes read are not those written")
	}

	for _, piece := range []string{"a", "b"} {
		conn.busy, conn.full = busyAfter, false // it rests now
		if _, err := peer.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
		one := make([]byte, 100)
		if n, err := conn.Read(one); err != nil || string(one[:n]) != piece {
			t.Errorf("after the stream: %q, %v", one[:n], err)
		}
	}
	peer.Close()
	if n, err := conn.Read(got); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %d, %v", n, err)
	}
}
