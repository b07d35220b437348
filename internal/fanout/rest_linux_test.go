package fanout

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// TestWhatComesAfterARestIsRead, all of it and in order, whether it comes in one
// piece, in several, or in more records of TLS than one read takes, and the end too.
func TestWhatComesAfterARestIsRead(t *testing.T) {
	for name, pair := range map[string]func(*testing.T) (server, client net.Conn){"plain": tcpPair, "TLS": tlsPair} {
		t.Run(name, func(t *testing.T) {
			h := newTestHub(t, Config{})
			server, client := pair(t)
			var (
				c        *Conn
				mu       sync.Mutex
				got      []byte
				rests    int
				detached = make(chan error, 1)
			)
			readable := func() {
				buffer := make([]byte, 100)
				for {
					n, err := c.Read(buffer)
					mu.Lock()
					got = append(got, buffer[:n]...)
					mu.Unlock()
					if err != nil {
						_ = c.Detach()
						detached <- err
						return
					}
					if c.Rest() {
						mu.Lock()
						rests++
						mu.Unlock()
						return
					}
				}
			}
			c = h.Attach(server, Client{Readable: readable})
			if !c.Rest() {
				t.Fatal("it does not rest at first")
			}
			var want []byte
			for i, size := range []int{1, 99, 100, 101, 40_000, 1, 20_000} {
				piece := bytes.Repeat([]byte{byte('a' + i)}, size)
				if _, err := client.Write(piece); err != nil {
					t.Fatal(err)
				}
				want = append(want, piece...)
				eventually(t, func() bool {
					mu.Lock()
					defer mu.Unlock()
					return len(got) == len(want) && rests > i
				})
			}
			mu.Lock()
			if !bytes.Equal(got, want) {
				t.Error("what was read is not what was sent")
			}
			mu.Unlock()
			_ = client.Close()
			if err := <-detached; !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

// TestARestEndsWithTheConnection, from whichever side.
func TestARestEndsWithTheConnection(t *testing.T) {
	for name, pair := range map[string]func(*testing.T) (server, client net.Conn){"plain": tcpPair, "TLS": tlsPair} {
		t.Run(name, func(t *testing.T) {
			h := newTestHub(t, Config{})
			server, client := pair(t)
			c := attach(h, server)
			eventually(t, func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.resting
			})
			c.CloseWith(GoingAway, errors.New("enough"))
			if op, _, _, err := readFrame(client); err != nil || op != opClose {
				t.Errorf("opcode %v, %v", op, err)
			}
			_ = client.Close()
			eventually(t, func() bool { return h.Len() == 0 })
		})
	}
}
