package mqttclient

import (
	"fmt"
	"net"
	"syscall"
	"time"
)

// gatherer is a connection that reads seldom while much comes in, and at once
// while little does.
//
// Where messages come one at a time nearly all that they cost is the waking of
// threads: for the socket, for this connection's reader, for the goroutines
// behind it. So once reads follow each other closely, each is put off by a
// rest, and finds several messages. Sleeping alone does not save the wake for the
// socket: the network poller sits in epoll_wait, and the kernel tells it of every
// segment. SO_RCVLOWAT keeps the kernel from doing so until gatherBytes have come
// (socket(7)).
//
// With it an input of 64-byte messages, as many as it could take, took half the CPU
// time at QoS 0 and 0.4 of it at QoS 1; a rest without SO_RCVLOWAT saved a fifth.
// What came at 5,000 messages a second took a third.
type gatherer struct {
	*net.TCPConn
	raw  syscall.RawConn
	busy int  // reads in a row that waited for less than closely
	full bool // the last read filled its buffer: there is more
}

const (
	gatherBytes = 32 << 10
	// rest is how long a sleep is asked to take: where all threads are idle it takes
	// the poller's millisecond. From 0.1 to 1 ms all cost about the same.
	rest = 300 * time.Microsecond
	// closely is how soon a read has to follow another for a rest to bring two
	// messages in one.
	closely = time.Millisecond
	// busyAfter keeps handshakes, and handfuls of messages, from resting.
	busyAfter = 8
)

// gather lets bytes gather before they are read from nc.
func gather(nc net.Conn) net.Conn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nc // the others have no SO_RCVLOWAT that a poller minds
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nc
	}
	return &gatherer{TCPConn: tcp, raw: raw}
}

// Read implements net.Conn.
func (g *gatherer) Read(p []byte) (int, error) {
	if g.busy >= busyAfter && !g.full {
		if err := g.rest(); err != nil {
			return 0, err
		}
	}
	g.acknowledgeNow()
	begun := time.Now()
	n, err := g.TCPConn.Read(p)
	if g.full = n == len(p); time.Since(begun) < closely {
		g.busy++
	} else {
		g.busy = 0
	}
	return n, err
}

// acknowledgeNow has the kernel acknowledge what has come, instead of waiting up to
// 40 ms for something to send along (tcp(7), TCP_QUICKACK, which does not last). A
// broker that does not switch off Nagle's algorithm, as Mosquitto does not by
// default, sends nothing more until then. As a rule a PUBACK goes along; not while a
// batch gathers, and meanwhile the broker's queue may run over.
func (g *gatherer) acknowledgeNow() {
	_ = g.raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) // it goes without, only later
	})
}

func (g *gatherer) rest() error {
	if err := g.tellAfter(gatherBytes); err != nil {
		return err
	}
	time.Sleep(rest)
	return g.tellAfter(1)
}

// tellAfter has the kernel tell of data only once there are n bytes.
func (g *gatherer) tellAfter(n int) (err error) {
	controlErr := g.raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, n)
	})
	if controlErr != nil {
		return controlErr
	}
	if err != nil {
		return fmt.Errorf("setting SO_RCVLOWAT of the connection to the MQTT broker: %w", err)
	}
	return nil
}
