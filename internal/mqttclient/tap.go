package mqttclient

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
)

// tap is the connection that paho speaks MQTT on. It keeps the PUBLISH packets
// for the session, which answers them itself, and passes on everything else.
//
// paho hands each PUBLISH through five goroutines, and each acknowledgement
// through three. Where messages come one at a time every one of these is a
// thread to be woken: that was most of the CPU time of a message.
type tap struct {
	net.Conn
	r       *bufio.Reader
	passing int // bytes of a packet that paho is reading
	receive func(*Message)

	mu   sync.Mutex // packets are written whole
	acks []byte     // memory for acknowledgements
}

// readBuffer holds some hundred small packets.
const readBuffer = 32 << 10

func newTap(nc net.Conn, receive func(*Message)) *tap {
	return &tap{Conn: nc, r: bufio.NewReaderSize(nc, readBuffer), receive: receive}
}

// Read gives paho the next bytes that are not of a PUBLISH packet.
func (t *tap) Read(p []byte) (int, error) {
	for t.passing == 0 {
		first, header, length, err := peekHeader(t.r)
		if err != nil {
			return 0, err
		}
		if first&typeMask != typePublish {
			t.passing = header + length
			break
		}
		if err := t.publish(first, header, length); err != nil {
			return 0, err
		}
	}
	n, err := t.r.Read(p[:min(len(p), t.passing)])
	t.passing -= n
	return n, err
}

func (t *tap) publish(first byte, header, length int) error {
	if _, err := t.r.Discard(header); err != nil {
		return err
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(t.r, body); err != nil {
		return err
	}
	m, err := parsePublish(first, body)
	if err != nil {
		return err
	}
	t.receive(m)
	return nil
}

var errLength = errors.New("malformed packet from the MQTT broker: its length takes more than four bytes")

// peekHeader reads, without taking it, the fixed header of the next packet: its
// first byte, the header's size and the length of what follows (MQTT 3.1.1,
// section 2.2).
func peekHeader(r *bufio.Reader) (first byte, header, length int, err error) {
	for header = 2; header <= 5; header++ {
		p, err := r.Peek(header)
		if err != nil {
			if len(p) > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, 0, 0, err
		}
		last := p[header-1]
		length |= int(last&0x7f) << (7 * (header - 2))
		if last < 0x80 {
			return p[0], header, length, nil
		}
	}
	return 0, 0, 0, errLength
}

// Write writes packets of paho's, each whole.
func (t *tap) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.Conn.Write(p)
}

// acknowledge answers messages, all in one write.
func (t *tap) acknowledge(messages []*Message) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acks = t.acks[:0]
	for _, m := range messages {
		t.acks = appendAck(t.acks, m)
	}
	if len(t.acks) == 0 {
		return nil
	}
	_, err := t.Conn.Write(t.acks)
	return err
}
