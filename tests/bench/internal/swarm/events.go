package swarm

import (
	"bytes"
	"fmt"
)

var endOfEvent = []byte("\n\n")

// events takes all whole events of data (WHATWG HTML, section 9.2) and keeps the rest
// for the next read. The envelopes in them are counted where they stand: each is a
// line, so nothing of them can be taken for an end.
func (s *swarm) events(c *conn, data []byte) {
	if end := bytes.LastIndex(data, endOfEvent); end >= 0 {
		end += len(endOfEvent)
		s.bytes += uint64(end)
		if err := readEnvelope(s, c, data[:end]); err != nil {
			s.end(c, err)
			return
		}
		data = data[end:]
	}
	if len(data) >= readBuffer {
		s.end(c, fmt.Errorf("an event of more than %d bytes", readBuffer))
		return
	}
	c.cut = append(c.cut, data...)
}
