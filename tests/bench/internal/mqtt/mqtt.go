// Package mqtt is as much of MQTT 3.1.1 as the swarm and the publisher need:
// packets as bytes, cheaper than any client library.
package mqtt

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// Packet types (MQTT 3.1.1, section 2.2.1).
const (
	ConnAck = 2
	Publish = 3
	PubAck  = 4
	SubAck  = 9
)

// Connect is a CONNECT with a clean session and no keep-alive.
func Connect(id string) []byte {
	return text([]byte{0x10, byte(12 + len(id)), 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0}, id)
}

// Login is a CONNECT with a clean session, a user name and a password. Together they
// have fewer than a hundred bytes.
func Login(id, user, password string, keepalive byte) []byte {
	p := []byte{0x10, byte(16 + len(id) + len(user) + len(password)), 0, 4, 'M', 'Q', 'T', 'T', 4, 0xc2, 0, keepalive}
	return text(text(text(p, id), user), password)
}

// Disconnect is a DISCONNECT.
func Disconnect() []byte { return []byte{0xe0, 0} }

// Dial opens a connection with a CONNECT, and returns when it is accepted.
func Dial(address string, connect []byte) (net.Conn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if _, err = c.Write(connect); err == nil {
		answer := make([]byte, 4)
		if _, err = io.ReadFull(c, answer); err == nil && (answer[0]>>4 != ConnAck || answer[3] != 0) {
			err = fmt.Errorf("the broker refused: % x", answer)
		}
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// Subscribe is a SUBSCRIBE to one topic.
func Subscribe(packet uint16, topic string, qos byte) []byte {
	p := []byte{0x82, byte(5 + len(topic))}
	return append(text(binary.BigEndian.AppendUint16(p, packet), topic), qos)
}

// AppendPublishHead appends a PUBLISH up to its payload, which is of size
// bytes. packet is the packet ID, of no account at QoS 0.
func AppendPublishHead(p []byte, topic string, qos byte, packet uint16, size int) []byte {
	length := 2 + len(topic) + size
	if qos > 0 {
		length += 2
	}
	p = append(p, Publish<<4|qos<<1)
	for ; length > 127; length >>= 7 {
		p = append(p, byte(length)|0x80)
	}
	p = text(append(p, byte(length)), topic)
	if qos > 0 {
		p = binary.BigEndian.AppendUint16(p, packet)
	}
	return p
}

func text(p []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(p, uint16(len(s))), s...)
}

// Packet takes the packet at the start of p apart. size is 0 if it is not all
// there.
func Packet(p []byte) (kind byte, body []byte, size int) {
	length, head := 0, 1
	for {
		if head >= len(p) {
			return 0, nil, 0
		}
		b := p[head]
		length |= int(b&0x7f) << (7 * (head - 1))
		head++
		if b&0x80 == 0 {
			break
		}
	}
	if len(p) < head+length {
		return 0, nil, 0
	}
	return p[0] >> 4, p[head : head+length], head + length
}
