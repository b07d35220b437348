package swarm

import (
	"bytes"
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/board"
)

// A slow connection is a client on a thin link. It reads as fast as the link carries,
// and has a receive buffer so small that the rest waits at the server.
const (
	slowBuffer  = 2048 // bytes; the kernel doubles it
	slowSegment = 536  // bytes (RFC 9293, section 3.7.1): with the 64 KiB of the loopback the window would open in leaps
	linkPiece   = 64   // bytes, fewer of which are not worth a read
)

// onLink is how long the link takes for so many bytes.
func (s *swarm) onLink(size int) time.Duration {
	return time.Duration(size) * 8 * time.Second / time.Duration(s.cfg.SlowBits)
}

// carried is how many bytes the link could bring since it was free.
func (s *swarm) carried(c *conn) int {
	return int(min(time.Since(c.free), time.Minute) * time.Duration(s.cfg.SlowBits) / (8 * time.Second))
}

// took notes that of the bytes that the link could bring so many came. If there were
// no more it has rested, and does not make up for that.
func (s *swarm) took(c *conn, size, of int) {
	if size < of {
		c.free = time.Now()
	} else {
		c.free = c.free.Add(s.onLink(size))
	}
}

// slowDown makes a connection that is open a slow one.
func (s *swarm) slowDown(c *conn) {
	s.watch(c, 0) // its turn comes by the clock
	s.slow = append(s.slow, c)
}

// readSlow reads from the slow connections what their links have brought.
func (s *swarm) readSlow() {
	for _, c := range s.slow {
		if s.conns[c.fd] == c && s.carried(c) >= linkPiece {
			s.handle(c)
		}
	}
}

// late notes how much older the messages of a frame are than the newest that the
// link could have brought by now: one that was published when its first byte had
// to go out.
func (s *swarm) late(body []byte) {
	if s.board.Record.Load() == 0 {
		return
	}
	size := len(body) / max(1, bytes.Count(body, keyEventID))
	for now := time.Now(); ; {
		at := bytes.Index(body, keyPayload)
		if at < 0 {
			return
		}
		body = body[at+len(keyPayload):]
		if published, ok := board.PublishedBase64(body); ok {
			s.lateness = append(s.lateness, int64(now.Sub(time.Unix(0, published))-s.onLink(size)))
		}
	}
}
