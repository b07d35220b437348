//go:build unix

package reserve

import (
	"net"
	"testing"
)

// Only who names the port gets it, and as often as it is asked for.
func TestAddress(t *testing.T) {
	address, err := Address()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("something listens on a port that is only reserved")
	}
	for range 2 {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal("a server does not get it:", err)
		}
		if second, err := net.Listen("tcp", address); err == nil {
			second.Close()
			t.Error("two servers listen on it")
		}
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal("a client does not reach the server:", err)
		}
		c.Close()
		l.Close()
	}
}

// As many as a run of the tests takes, beside listeners on any port.
func TestAddressIsNobodyElses(t *testing.T) {
	taken := make(map[string]bool)
	for range 500 {
		address, err := Address()
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		for _, a := range []string{address, l.Addr().String()} {
			if taken[a] {
				t.Fatal(a, "was given twice")
			}
			taken[a] = true
		}
	}
}
