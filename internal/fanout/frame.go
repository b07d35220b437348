package fanout

import (
	"encoding/binary"
	"unicode/utf8"
)

// Opcode is the opcode of a WebSocket frame (RFC 6455, section 5.2).
type Opcode byte

// The opcodes of RFC 6455, section 11.8.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	opClose      Opcode = 0x8
	opPing       Opcode = 0x9
	opPong       Opcode = 0xa
)

const (
	finBit     = 0x80
	rsv1Bit    = 0x40
	rsv2Bit    = 0x20
	rsv3Bit    = 0x10
	maskBit    = 0x80
	opcodeSet  = 0x0f
	maxHeader  = 10  // a server never masks: RFC 6455, section 5.1
	maxControl = 125 // bytes of payload: section 5.5
)

// appendMessage appends payload as one unmasked WebSocket message to dst; first
// is the opcode of its first frame, with rsv1 for a compressed one. A payload
// above maxFrame bytes goes out in several frames (RFC 6455, section 5.4);
// maxFrame 0 means one frame whatever the size.
func appendMessage(dst []byte, first byte, payload []byte, maxFrame int) []byte {
	for maxFrame > 0 && len(payload) > maxFrame {
		dst = append(appendHeader(dst, first, maxFrame), payload[:maxFrame]...)
		first, payload = byte(Continuation), payload[maxFrame:]
	}
	return append(appendHeader(dst, finBit|first, len(payload)), payload...)
}

// messageSize is an upper bound of what appendMessage appends.
func messageSize(payload, maxFrame int) int {
	frames := 1
	if maxFrame > 0 {
		frames += payload / maxFrame
	}
	return payload + frames*maxHeader
}

func appendHeader(dst []byte, first byte, n int) []byte {
	switch {
	case n < 126:
		return append(dst, first, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
	}
}

// closeFrame is a Close frame (RFC 6455, section 5.5.1). Its reason is cut, at a
// character, to the bytes that a control frame leaves beside the code.
func closeFrame(code uint16, reason string) []byte {
	if most := maxControl - 2; len(reason) > most {
		for most > 0 && !utf8.RuneStart(reason[most]) {
			most--
		}
		reason = reason[:most]
	}
	f := append(make([]byte, 0, 4+len(reason)), finBit|byte(opClose), byte(2+len(reason)))
	return append(binary.BigEndian.AppendUint16(f, code), reason...)
}

var pingFrame = []byte{finBit | byte(opPing), 0}

// frameSize returns the length of the unmasked frame at the start of p, and
// whether it ends a message. Frames in a queue are always whole.
func frameSize(p []byte) (size int, fin bool) {
	fin = p[0]&finBit != 0
	switch n := int(p[1]); n {
	case 126:
		return 4 + int(binary.BigEndian.Uint16(p[2:])), fin
	case 127:
		return 10 + int(binary.BigEndian.Uint64(p[2:])), fin
	default:
		return 2 + n, fin
	}
}

// appendPayload appends the payload of an unmasked message, which may have several
// frames, to dst.
func appendPayload(dst, message []byte) []byte {
	for len(message) > 0 {
		size, _ := frameSize(message)
		header := 2
		switch message[1] {
		case 126:
			header = 4
		case 127:
			header = 10
		}
		dst = append(dst, message[header:size]...)
		message = message[size:]
	}
	return dst
}
