package fanout

import (
	"bytes"
	"strings"
)

// wire is how messages stand on a connection.
type wire uint8

const (
	webSocket   wire = iota // as frames (RFC 6455)
	eventStream             // as server-sent events (WHATWG HTML, section 9.2)
)

// append appends a message; first is as for appendMessage.
func (w wire) append(dst []byte, first byte, id string, payload []byte, maxFrame int) []byte {
	if w == eventStream {
		return appendEvent(dst, Opcode(first&opcodeSet), id, payload)
	}
	return appendMessage(dst, first, payload, maxFrame)
}

// size is an upper bound of what append appends.
func (w wire) size(id string, payload []byte, maxFrame int) int {
	if w == eventStream {
		lines := 1 + bytes.Count(payload, []byte("\n")) + bytes.Count(payload, []byte("\r"))
		return len(fieldID) + len(id) + len("\n") + len(payload) + lines*len(fieldData+"\n") + len("\n")
	}
	return messageSize(len(payload), maxFrame)
}

// length is that of the message at the start of p.
func (w wire) length(p []byte) int {
	if w == eventStream {
		return bytes.Index(p, []byte("\n\n")) + len("\n\n")
	}
	return messageLen(p)
}

const (
	fieldID   = "id: "
	fieldData = "data: "
)

// comment is an event of nothing: a sign of life that no client sees.
var comment = []byte(":\n\n")

// appendEvent appends a message as an event. Binary messages have no place in a
// stream of text, and leave nothing but a comment.
func appendEvent(dst []byte, op Opcode, id string, payload []byte) []byte {
	if op != Text {
		return append(dst, comment...)
	}
	if id != "" && !strings.ContainsAny(id, "\x00\r\n") {
		dst = append(append(append(dst, fieldID...), id...), '\n')
	}
	for more := true; more; { // each line is a field: as a rule there is one
		line := payload
		var end int
		if end = bytes.IndexAny(payload, "\r\n"); end >= 0 {
			line = payload[:end]
			if payload[end] == '\r' && end+1 < len(payload) && payload[end+1] == '\n' {
				end++
			}
			payload = payload[end+1:]
		}
		more = end >= 0
		dst = append(append(append(dst, fieldData...), line...), '\n')
	}
	return append(dst, '\n')
}
