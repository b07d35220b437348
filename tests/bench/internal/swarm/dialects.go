package swarm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/iotcast/iotcast/tests/bench/internal/board"
	"github.com/iotcast/iotcast/tests/bench/internal/mqtt"
)

// A dialect is what is spoken inside the WebSocket messages.
type dialect struct {
	subprotocol string
	subscribe   func(topic string, id int) []byte // nil: a connection is ready at once
	events      bool                              // they are server-sent events, not WebSocket messages
	read        func(s *swarm, c *conn, body []byte) error
}

var dialects = map[string]dialect{
	"none":     {read: func(*swarm, *conn, []byte) error { return nil }},
	"envelope": {read: readEnvelope},
	"events":   {events: true},
	"mqtt":     {subprotocol: "mqtt", subscribe: subscribeMQTT, read: whole(cutMQTT)},
	"nats":     {subscribe: subscribeNATS, read: whole(cutNATS)},
}

var (
	keyEventID = []byte(`"event_id"`)
	keyPayload = []byte(`"payload":"`)
)

// readEnvelope counts the IoT messages of an envelope: each has one event ID.
func readEnvelope(s *swarm, c *conn, body []byte) error {
	s.delivered += s.count(body)
	if !c.sampled || s.board.Record.Load() == 0 {
		return nil
	}
	for {
		at := bytes.Index(body, keyPayload)
		if at < 0 {
			return nil
		}
		body = body[at+len(keyPayload):]
		s.note(board.PublishedBase64(body))
	}
}

// A page of values is the same for all connections: to count each anew would take longer
// than to send it.
const pageBytes = 16 << 10

type page struct {
	body     []byte
	messages uint64
}

// count is how many messages an envelope holds.
func (s *swarm) count(body []byte) uint64 {
	if len(body) < pageBytes {
		return uint64(bytes.Count(body, keyEventID))
	}
	begins := string(body[:pageBytes/64]) // with the first event ID
	known := s.pages[begins]
	if !bytes.Equal(known.body, body) {
		known = page{bytes.Clone(body), uint64(bytes.Count(body, keyEventID))}
		s.pages[begins] = known
	}
	return known.messages
}

// deliver counts a message that came bare.
func (s *swarm) deliver(c *conn, payload []byte) {
	s.delivered++
	if c.sampled && s.board.Record.Load() != 0 {
		s.note(board.Published(payload))
	}
}

// whole makes the reader of a protocol whose packets need not end where the
// WebSocket message does. cut handles the packet at the start of p and returns
// its size, 0 if it is not all there.
func whole(cut func(s *swarm, c *conn, p []byte) (int, error)) func(*swarm, *conn, []byte) error {
	return func(s *swarm, c *conn, p []byte) error {
		if len(c.inner) > 0 {
			c.inner = append(c.inner, p...)
			p = c.inner
		}
		for len(p) > 0 {
			n, err := cut(s, c, p)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			p = p[n:]
		}
		c.inner = append(c.inner[:0], p...)
		return nil
	}
}

func subscribeMQTT(topic string, id int) []byte {
	return append(mqtt.Connect("swarm-"+strconv.Itoa(id)), mqtt.Subscribe(1, topic, 0)...)
}

func cutMQTT(s *swarm, c *conn, p []byte) (int, error) {
	kind, body, size := mqtt.Packet(p)
	if size == 0 {
		return 0, nil
	}
	switch kind {
	case mqtt.SubAck:
		s.opened(c)
	case mqtt.Publish:
		s.deliver(c, body[2+int(binary.BigEndian.Uint16(body)):]) // QoS 0: no packet ID
	}
	return size, nil
}

func subscribeNATS(topic string, _ int) []byte {
	return fmt.Appendf(nil, "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB %s 1\r\nPING\r\n", topic)
}

var errNATS = errors.New("not understood from the NATS server")

func cutNATS(s *swarm, c *conn, p []byte) (int, error) {
	end := bytes.IndexByte(p, '\n')
	if end < 0 {
		return 0, nil
	}
	line, size := bytes.TrimRight(p[:end], "\r"), end+1
	switch {
	case bytes.HasPrefix(line, []byte("MSG ")):
		length := 0
		for _, digit := range line[bytes.LastIndexByte(line, ' ')+1:] {
			length = length*10 + int(digit-'0')
		}
		if len(p) < size+length+2 {
			return 0, nil
		}
		s.deliver(c, p[size:size+length])
		size += length + 2
	case string(line) == "PING":
		s.write(c, clientFrame(opBinary, []byte("PONG\r\n")))
	case string(line) == "PONG":
		s.opened(c)
	case bytes.HasPrefix(line, []byte("INFO ")), string(line) == "+OK":
	default:
		return 0, fmt.Errorf("%w: %q", errNATS, line)
	}
	return size, nil
}
