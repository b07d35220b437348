package mqttclient

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Control packet types (MQTT 3.1.1, section 2.2.1) with their flags.
const (
	typePublish = 0x30
	typeMask    = 0xf0
	packetAck   = 0x40 // PUBACK
	packetRec   = 0x50 // PUBREC
	ackLen      = 4    // of either
)

var errMalformed = errors.New("malformed PUBLISH packet from the MQTT broker")

// parsePublish takes a PUBLISH packet apart (MQTT 3.1.1, section 3.3): flags is
// its first byte, body all after the fixed header, with properties in it where the
// protocol has them (MQTT 5, section 3.3.2.3). The payload shares the memory
// of body; the topic that of topic, if it is the same.
func parsePublish(flags byte, body []byte, topic string, properties bool) (*Message, error) {
	m := &Message{QoS: flags >> 1 & 3, Retained: flags&1 != 0, Duplicate: flags&8 != 0}
	if m.QoS == 3 {
		return nil, fmt.Errorf("%w: QoS 3 [MQTT-3.3.1-4]", errMalformed)
	}
	if len(body) < 2 {
		return nil, fmt.Errorf("%w: no topic", errMalformed)
	}
	n := int(binary.BigEndian.Uint16(body))
	if body = body[2:]; len(body) < n {
		return nil, fmt.Errorf("%w: a topic of %d bytes in %d", errMalformed, n, len(body))
	}
	if m.Topic = topic; string(body[:n]) != topic {
		m.Topic = string(body[:n])
	}
	body = body[n:]
	if m.QoS > 0 {
		if len(body) < 2 {
			return nil, fmt.Errorf("%w: no packet identifier", errMalformed)
		}
		if m.ID = binary.BigEndian.Uint16(body); m.ID == 0 {
			return nil, fmt.Errorf("%w: packet identifier 0 [MQTT-2.3.1-1]", errMalformed)
		}
		body = body[2:]
	}
	if properties {
		var err error
		if m.Properties, body, err = parseProperties(body); err != nil {
			return nil, err
		}
	}
	m.Payload = body
	return m, nil
}

// appendAck appends the answer to a message: PUBACK at QoS 1, PUBREC at QoS 2,
// nothing at QoS 0 (MQTT 3.1.1, section 4.3).
func appendAck(dst []byte, m *Message) []byte {
	switch m.QoS {
	case 1:
		return append(dst, packetAck, 2, byte(m.ID>>8), byte(m.ID))
	case 2:
		return append(dst, packetRec, 2, byte(m.ID>>8), byte(m.ID))
	}
	return dst
}
