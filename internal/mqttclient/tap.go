package mqttclient

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// tap is the connection that paho speaks MQTT on. It keeps the PUBLISH packets
// for the session, which answers them itself, and passes on everything else.
//
// paho hands each PUBLISH through five goroutines, and each acknowledgement
// through three. Where messages come one at a time every one of these is a
// thread to be woken: that was most of the CPU time of a message.
//
// For the same reason what one read brings is handed over at once, and a gatherer
// sees to it that one brings much.
type tap struct {
	net.Conn
	reading    sync.Mutex    // of paho, and of Close; guards what follows, up to receive
	r          *bufio.Reader // over fill
	passing    int           // bytes of a packet that paho is reading
	properties bool          // packets have them: MQTT 5
	gathered   []*Message    // taken, not yet handed over
	topic      string        // of the last message: the next one often has the same
	receive    func([]*Message)

	silence atomic.Int64  // a duration, after which the peer is taken for dead; 0 for never
	polite  atomic.Bool   // Close waits for the peer
	ended   chan struct{} // closed when a read has failed
	end     sync.Once

	mu    sync.Mutex // guards writing: packets are written whole
	acks  []byte     // gathered, not yet written
	flush *time.Timer
}

// readBuffer holds some hundred small packets.
const readBuffer = 32 << 10

func newTap(nc net.Conn, receive func([]*Message)) *tap {
	t := &tap{Conn: nc, receive: receive, ended: make(chan struct{})}
	t.r = bufio.NewReaderSize(readerFunc(t.fill), readBuffer)
	return t
}

// setKeepAlive: the peer is taken for dead after as long as a broker waits for a client [MQTT-3.1.2-24]. paho pings a quarter
// of the keep-alive too late at worst, so a short one gets a whole second more.
func (t *tap) setKeepAlive(keepAlive time.Duration) {
	t.silence.Store(int64(keepAlive + max(keepAlive/2, time.Second)))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Read gives paho the next bytes that are not of a PUBLISH packet.
func (t *tap) Read(p []byte) (int, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	defer t.handOver()
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

// fill reads from the connection. It may wait for a long time, so what was
// gathered goes first.
func (t *tap) fill(p []byte) (int, error) {
	t.handOver()
	silence := time.Duration(t.silence.Load())
	if silence > 0 {
		_ = t.Conn.SetReadDeadline(time.Now().Add(silence))
	}
	n, err := t.Conn.Read(p)
	if err != nil {
		t.end.Do(func() { close(t.ended) })
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("nothing came from the MQTT broker for %v, not even the answer to a ping: the connection is dead", silence)
	}
	return n, err
}

// closeWait is for the peer to read what was written, and to close. A broker on a
// busy machine has needed more than a second.
const closeWait = 3 * time.Second

// Close closes the connection. A socket that is closed with bytes unread resets
// the connection, and the broker loses the acknowledgements that it has not read
// yet: it would send those messages again. So, after a DISCONNECT, reading goes on
// until the broker has closed its side, as it must [MQTT-3.14.4-1].
func (t *tap) Close() error {
	if half, ok := t.Conn.(interface{ CloseWrite() error }); ok && t.polite.Load() && half.CloseWrite() == nil {
		go t.readOn()
		timeout := time.NewTimer(closeWait)
		defer timeout.Stop()
		select {
		case <-t.ended:
		case <-timeout.C:
		}
	}
	return t.Conn.Close()
}

// readOn reads what paho does not any more: paho.golang ends with the first packet that it gets behind its DISCONNECT.
func (t *tap) readOn() {
	var discarded [512]byte
	for {
		if _, err := t.Read(discarded[:]); err != nil {
			return
		}
	}
}

func (t *tap) handOver() {
	if len(t.gathered) == 0 {
		return
	}
	t.receive(t.gathered)
	clear(t.gathered)
	t.gathered = t.gathered[:0]
}

func (t *tap) publish(first byte, header, length int) error {
	_, _ = t.r.Discard(header) // it was peeked
	body, err := readBody(t.r, length)
	if err != nil {
		return err
	}
	m, err := parsePublish(first, body, t.topic, t.properties)
	if err != nil {
		return err
	}
	t.topic = m.Topic
	t.gathered = append(t.gathered, m)
	return nil
}

// readBody reads a packet's body. A length is only a claim: memory for a large
// one is taken as it comes.
func readBody(r io.Reader, length int) ([]byte, error) {
	if length <= 1<<20 {
		body := make([]byte, length)
		_, err := io.ReadFull(r, body)
		return body, err
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(length)); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return body.Bytes(), nil
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

// Acknowledgements are gathered, for ackDelay or until there are ackBatch, since
// each write costs as much as receiving a message. The broker does not mind: it
// sends on while its own window is open, which with Mosquitto's default is 20
// messages wide.
const (
	ackDelay = time.Millisecond
	ackBatch = 10
)

// acknowledge answers messages, in order.
func (t *tap) acknowledge(messages []*Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	had := len(t.acks)
	for _, m := range messages {
		t.acks = appendAck(t.acks, m)
	}
	switch {
	case len(t.acks) == had:
	case len(t.acks) >= ackBatch*ackLen:
		t.writeAcks()
	case had == 0 && t.flush == nil:
		t.flush = time.AfterFunc(ackDelay, t.Flush)
	case had == 0:
		t.flush.Reset(ackDelay)
	}
}

// Flush writes the acknowledgements that are gathered.
func (t *tap) Flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writeAcks()
}

func (t *tap) writeAcks() {
	if len(t.acks) == 0 {
		return
	}
	if _, err := t.Conn.Write(t.acks); err != nil {
		_ = t.Conn.Close() // paho finds the connection lost
	}
	t.acks = t.acks[:0]
}
