package envelope

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// PayloadAs is how a payload stands in its message.
type PayloadAs uint8

const (
	// AsBase64 is the field payload with base64, whatever the payload holds.
	AsBase64 PayloadAs = iota
	// AsJSON is the field payload with the payload itself, which JSONOrOther has found to be JSON.
	AsJSON
	// AsOther is the field payload_base64, beside messages with AsJSON.
	AsOther
)

// maxDepth leaves four levels for the envelope around a payload: parsers with a limit of 64 levels, such as .NET's, would
// refuse the whole envelope, and encoding/json does so from 10,000.
const maxDepth = 60

// JSONOrOther returns AsJSON for a payload that is JSON (RFC 8259), in UTF-8 and of at most 60 levels, and else AsOther. It
// is asked once for each message, since Size and AppendMessage need the answer.
func JSONOrOther(payload []byte) PayloadAs {
	if utf8.Valid(payload) && json.Valid(payload) && isShallow(payload) {
		return AsJSON
	}
	return AsOther
}

// isShallow reports whether valid JSON has at most maxDepth levels.
func isShallow(text []byte) bool {
	// Few brackets cannot be deep, wherever they stand.
	if bytes.Count(text, []byte{'{'})+bytes.Count(text, []byte{'['}) <= maxDepth {
		return true
	}
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			inString = !inString
		case inString:
			if c == '\\' {
				i++
			}
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}

// appendJSON appends a payload as it is, but with spaces for its line breaks: an envelope is one line, for those who read
// it by lines. No string of valid JSON holds a line break (RFC 8259 section 7).
func appendJSON(dst, payload []byte) []byte {
	from := len(dst)
	dst = append(dst, payload...)
	for _, c := range [...]byte{'\n', '\r'} {
		for rest := dst[from:]; ; {
			i := bytes.IndexByte(rest, c)
			if i < 0 {
				break
			}
			rest[i] = ' '
			rest = rest[i+1:]
		}
	}
	return dst
}

// sizePayload returns how many bytes a payload takes, less those that fixedMessage counts for it.
func sizePayload(m *Message) int {
	switch m.PayloadAs {
	case AsJSON:
		return len(textJSON) + len(m.Payload) + len(textEndJSON) - len(textPayload) - len(textEnd)
	case AsOther:
		return len(textBase64) - len(textPayload) + base64.StdEncoding.EncodedLen(len(m.Payload))
	default:
		return base64.StdEncoding.EncodedLen(len(m.Payload))
	}
}
