package devbroker

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// mochi v2.7.9 takes many packets that the standards call malformed: properties that are longer than their length, or come
// twice, reserved bits, bytes after the end. At others its decoder panics, and where it refuses one, a client of MQTT 5 is not
// told why. So packets are looked at before mochi has them. What depends on a session, or on who a client is, is left to it and
// to the hook.

// begunBytes is how much room is kept for the next packet that does not come at once.
const begunBytes = 4 << 10

// maxConnectBytes is how long a CONNECT may be: all that one of MQTT 3.1.1 can hold, and more. mochi makes room for a packet as
// soon as it is announced, by whomever.
const maxConnectBytes = 512 << 10

// checker takes apart what a client sends. It belongs to the goroutine that reads.
type checker struct {
	version byte            // of its CONNECT; 0: there was none yet
	begun   []byte          // what has been read of a packet that is not complete
	aliases map[uint16]bool // that stand for a topic
}

// check looks at bytes that have been read, and says how many of them may go on: all, or those before the packet at which why
// tells what is wrong.
func (k *checker) check(p []byte) (n int, why *packets.Code) {
	before := len(k.begun)
	all := p
	if before > 0 {
		k.begun = append(k.begun, p...)
		all = k.begun
	}
	rest := all
	for len(rest) > 0 {
		header, size, why := k.measure(rest)
		if why == nil && size > 0 && len(rest) >= size {
			why = k.packet(rest[0], rest[header:size])
		}
		if why != nil {
			return max(len(all)-len(rest)-before, 0), why
		}
		if size == 0 || len(rest) < size {
			break
		}
		rest = rest[size:]
	}
	switch {
	case len(rest) == 0 && cap(k.begun) > begunBytes:
		k.begun = nil
	case before == 0 || len(rest) < len(all): // else it is there
		k.begun = append(k.begun[:0], rest...)
	}
	return len(p), nil
}

// measure looks at the fixed header of a packet, and says how long it is and how long all is; 0: there must be more to say it.
func (k *checker) measure(p []byte) (header, size int, why *packets.Code) {
	if k.version == 0 && p[0]>>4 != packets.Connect { // [MQTT-3.1.0-1]
		return 0, 0, protocolError("it has not sent CONNECT")
	}
	if !validFlags(p[0]) {
		return 0, 0, malformed("flags of the fixed header")
	}
	length, n := binary.Uvarint(p[1:min(len(p), 5)])
	switch {
	case n == 0 && len(p) >= 5:
		return 0, 0, malformed("remaining length") // MQTT 5.0, 1.5.5
	case n == 0:
		return 0, 0, nil
	case length >= maxPacketBytes, k.version == 0 && length > maxConnectBytes:
		return 0, 0, &packets.ErrPacketTooLarge
	}
	return 1 + n, 1 + n + int(length), nil
}

// validFlags reports whether the first byte of a packet has the flags of its type (MQTT 5.0, 2.1.3).
func validFlags(first byte) bool {
	flags := first & 0x0f
	switch first >> 4 {
	case packets.Publish:
		qos, dup := flags>>1&3, flags&8 > 0
		return qos < 3 && (qos > 0 || !dup) // [MQTT-3.3.1-4] [MQTT-3.3.1-2]
	case packets.Pubrel, packets.Subscribe, packets.Unsubscribe:
		return flags == 2
	}
	return flags == 0
}

// packet looks at a packet.
func (k *checker) packet(first byte, body []byte) *packets.Code {
	r := &reader{rest: body}
	why := k.fields(first, r)
	switch {
	case why == nil && r.short:
		return malformed("it is too short")
	case why == nil && len(r.rest) > 0:
		return malformed("it is too long")
	}
	return why
}

// fields reads the fields of a packet.
func (k *checker) fields(first byte, r *reader) *packets.Code {
	switch first >> 4 {
	case packets.Connect:
		return k.connect(r)
	case packets.Publish:
		return k.publish(first>>1&3, r)
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp:
		r.uint16()
		return k.reason(first>>4, r)
	case packets.Subscribe:
		return k.subscribe(r)
	case packets.Unsubscribe:
		return k.unsubscribe(r)
	case packets.Pingreq:
		return nil
	case packets.Disconnect:
		return k.reason(packets.Disconnect, r)
	}
	return protocolError("a client has no such packet to send") // nor AUTH, since none has named a method [MQTT-4.12.0-6]
}

// connect reads a CONNECT. It says nothing of an unknown protocol, which conn.admit answers.
func (k *checker) connect(r *reader) *packets.Code {
	name := string(r.binary())
	level := r.byte()
	version := level &^ bridgeFlag
	known := name == "MQTT" && (version == 4 || level == 5) || name == "MQIsdp" && version == 3
	if !known || k.version != 0 { // or it is a second one, which mochi answers
		k.version = max(k.version, 1)
		r.rest = nil
		return nil
	}
	k.version = version
	flags := r.byte()
	r.uint16()
	will, user, pass := flags&4 > 0, flags&0x80 > 0, flags&0x40 > 0
	switch {
	case flags&1 > 0: // [MQTT-3.1.2-3]
		return malformed("reserved flag")
	case !will && flags&0x38 > 0: // [MQTT-3.1.2-11] [MQTT-3.1.2-13]
		return malformed("flags of a will, without one")
	case flags&0x18 == 0x18: // [MQTT-3.1.2-12]
		return malformed("QoS of the will")
	case version < 5 && pass && !user: // 3.1.1, [MQTT-3.1.2-22]
		return malformed("password without user name")
	}
	of, why := k.properties(packets.Connect, r)
	if why != nil {
		return why
	}
	r.text()
	if will {
		if _, why := k.properties(packets.WillProperties, r); why != nil {
			return why
		}
		if topic := r.text(); topic == "" && !r.short { // [MQTT-4.7.3-1]
			return &packets.ErrTopicNameInvalid
		}
		r.binary()
	}
	if user {
		r.text()
	}
	if pass {
		r.binary()
	}
	switch {
	case r.short || len(r.rest) > 0:
		return nil
	case of.seen[packets.PropAuthenticationMethod]: // MQTT 5.0, [MQTT-4.12.0-1]
		return &packets.ErrBadAuthenticationMethod
	case of.seen[packets.PropAuthenticationData]: // MQTT 5.0, 3.1.2.11.10
		return protocolError("authentication data without method")
	}
	return nil
}

func (k *checker) publish(qos byte, r *reader) *packets.Code {
	topic := r.text()
	if iotcore.HasWildcard(topic) { // [MQTT-3.3.2-2]
		return protocolError("topic with a wildcard")
	}
	if qos > 0 && r.uint16() == 0 {
		return noPacketID(r)
	}
	of, why := k.properties(packets.Publish, r)
	if why != nil || r.short {
		return why
	}
	r.rest = nil // the payload
	switch {
	case of.alias > maxTopicAlias: // [MQTT-3.3.2-9]
		return &packets.ErrTopicAliasInvalid
	case topic == "" && !k.aliases[of.alias]: // MQTT 5.0, 3.3.2.3.4
		return protocolError("neither a topic nor the alias of one")
	case of.alias > 0 && k.aliases == nil:
		k.aliases = map[uint16]bool{}
		fallthrough
	case of.alias > 0:
		k.aliases[of.alias] = true
	}
	return nil
}

// reason reads what may follow in an acknowledgement or DISCONNECT: over MQTT 5, a reason code, and properties.
func (k *checker) reason(packet byte, r *reader) *packets.Code {
	if k.version < 5 || r.short || len(r.rest) == 0 {
		return nil
	}
	r.byte()
	if len(r.rest) == 0 {
		return nil
	}
	_, why := k.properties(packet, r)
	return why
}

func (k *checker) subscribe(r *reader) *packets.Code {
	if r.uint16() == 0 {
		return noPacketID(r)
	}
	if _, why := k.properties(packets.Subscribe, r); why != nil || r.short {
		return why
	}
	if len(r.rest) == 0 { // MQTT 5.0, [MQTT-3.8.3-2]
		return protocolError("no filters")
	}
	for len(r.rest) > 0 && !r.short {
		filter := r.text()
		options := r.byte()
		share, _ := cutShare(filter)
		switch {
		case k.version < 5 && options > 2 || options&0xc0 > 0: // 3.1.1, [MQTT-3-8.3-4]; 5.0, [MQTT-3.8.3-5]
			return malformed("reserved bits of a subscription")
		case options&3 == 3, options&0x30 == 0x30: // MQTT 5.0, 3.8.3.1
			return protocolError("options of a subscription")
		case options&4 > 0 && share != "": // MQTT 5.0, [MQTT-3.8.3-4]
			return protocolError("a shared subscription with No Local")
		}
	}
	return nil
}

func (k *checker) unsubscribe(r *reader) *packets.Code {
	if r.uint16() == 0 {
		return noPacketID(r)
	}
	if _, why := k.properties(packets.Unsubscribe, r); why != nil || r.short {
		return why
	}
	if len(r.rest) == 0 { // MQTT 5.0, [MQTT-3.10.3-2]
		return protocolError("no filters")
	}
	for len(r.rest) > 0 && !r.short {
		r.text()
	}
	return nil
}

func noPacketID(r *reader) *packets.Code {
	if r.short {
		return malformed("it is too short")
	}
	return protocolError("packet ID 0") // MQTT 5.0, [MQTT-2.2.1-3]
}

func malformed(what string) *packets.Code {
	return &packets.Code{Code: packets.ErrMalformedPacket.Code, Reason: "malformed packet: " + what}
}

func protocolError(what string) *packets.Code {
	return &packets.Code{Code: packets.ErrProtocolViolation.Code, Reason: "protocol error: " + what}
}

// reader reads the fields of a packet, and notes when there is no more, or no valid text.
type reader struct {
	rest  []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if r.short || len(r.rest) < n {
		r.short, r.rest = true, nil
		return make([]byte, min(n, 4)) // of the integers
	}
	var field []byte
	field, r.rest = r.rest[:n], r.rest[n:]
	return field
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

func (r *reader) binary() []byte {
	n := int(r.uint16())
	if r.short {
		return nil
	}
	return r.take(n)
}

// text reads a string in UTF-8, without NUL (MQTT 5.0, 1.5.4).
func (r *reader) text() string {
	b := r.binary()
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		r.short = true
	}
	return string(b)
}

// varint reads a Variable Byte Integer (MQTT 5.0, 1.5.5).
func (r *reader) varint() int {
	v, n := binary.Uvarint(r.rest[:min(len(r.rest), 4)])
	if n <= 0 {
		r.short = true
		return 0
	}
	r.take(n)
	return int(v)
}
