package mqttclient

import (
	"encoding/binary"
	"fmt"
	"time"
	"unicode/utf8"
)

// Properties are those of a PUBLISH of MQTT 5 (section 3.3.2.3) that say something about the message.
type Properties struct {
	UTF8            bool           // the payload is text (Payload Format Indicator)
	Expiry          *time.Duration // how long after ReceivedAt it is still of use, in whole seconds; nil: for ever
	ContentType     string
	ResponseTopic   string
	CorrelationData []byte
	User            []UserProperty // in the order of the publisher; a name may come several times
}

// UserProperty is one name with its value (MQTT 5, section 3.3.2.3.7).
type UserProperty struct{ Name, Value string }

// Expired reports whether a message is of no use any more at a time.
func (m *Message) Expired(now time.Time) bool {
	return m.Properties != nil && m.Properties.Expiry != nil && now.Sub(m.ReceivedAt) >= *m.Properties.Expiry
}

// Identifiers of properties (MQTT 5, section 2.2.2.2).
const (
	propertyPayloadFormat   = 0x01
	propertyMessageExpiry   = 0x02
	propertyContentType     = 0x03
	propertyResponseTopic   = 0x08
	propertyCorrelationData = 0x09
	propertySubscriptionID  = 0x0b
	propertyTopicAlias      = 0x23
	propertyUser            = 0x26
)

// parseProperties takes the properties from the front of a PUBLISH's variable header, and returns what follows them. They
// are nil where there are none: most messages have none.
func parseProperties(body []byte) (*Properties, []byte, error) {
	r := properties{rest: body}
	length := r.variable()
	if r.err != nil || length > len(r.rest) {
		return nil, nil, fmt.Errorf("%w: properties of %d bytes in %d", errMalformed, length, len(r.rest))
	}
	rest := r.rest[length:]
	if length == 0 {
		return nil, rest, nil
	}
	r.rest = r.rest[:length]
	var p Properties
	for len(r.rest) > 0 && r.err == nil {
		r.next(&p)
	}
	if r.err != nil {
		return nil, nil, r.err
	}
	return &p, rest, nil
}

// properties reads a block of them. After an error it reads zeros.
type properties struct {
	rest []byte
	err  error
}

func (r *properties) next(p *Properties) {
	switch id := r.bytes(1)[0]; id {
	case propertyPayloadFormat:
		p.UTF8 = r.bytes(1)[0] == 1
	case propertyMessageExpiry:
		expiry := time.Duration(binary.BigEndian.Uint32(r.bytes(4))) * time.Second
		p.Expiry = &expiry
	case propertyContentType:
		p.ContentType = r.text()
	case propertyResponseTopic:
		p.ResponseTopic = r.text()
	case propertyCorrelationData:
		p.CorrelationData = r.binary()
	case propertySubscriptionID:
		r.variable()
	case propertyTopicAlias: // CONNECT has allowed none [MQTT-3.1.2-26]
		r.fail("a topic alias, which was not allowed")
	case propertyUser:
		p.User = append(p.User, UserProperty{r.text(), r.text()})
	default:
		r.fail(fmt.Sprintf("property 0x%02x", id))
	}
}

func (r *properties) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", errMalformed, what)
	}
}

var zeros [4]byte

func (r *properties) bytes(n int) []byte {
	if r.err != nil || len(r.rest) < n {
		r.fail("a property is cut off")
		return zeros[:min(n, len(zeros))]
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

// binary shares the memory of the packet.
func (r *properties) binary() []byte {
	n := int(binary.BigEndian.Uint16(r.bytes(2)))
	if n > len(r.rest) {
		r.fail("a property is cut off")
		return nil
	}
	return r.bytes(n)
}

func (r *properties) text() string {
	b := r.binary()
	if !utf8.Valid(b) {
		r.fail("a property that is not UTF-8 [MQTT-1.5.4-1]")
	}
	return string(b)
}

// variable is a Variable Byte Integer (MQTT 5, section 1.5.5).
func (r *properties) variable() int {
	n := 0
	for shift := 0; shift <= 21; shift += 7 {
		b := r.bytes(1)[0]
		if n |= int(b&0x7f) << shift; b < 0x80 {
			return n
		}
	}
	r.fail("a length takes more than four bytes")
	return 0
}
