package connectionapi

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

// outgoing is a message as a request has it.
type outgoing struct {
	Data *string `json:"data"` // base64
	Type string  `json:"type"`
}

// decode reads the body of a request into what it must be.
func (a *api) decode(req *http.Request, into any) error {
	// Four characters of base64 for three bytes, each perhaps escaped, and room for
	// the rest.
	limit := int64(2*a.maxMessageBytes + 8<<10)
	d := json.NewDecoder(http.MaxBytesReader(nil, req.Body, limit))
	d.DisallowUnknownFields() // a misspelt one would send something else than is meant
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.New("something follows the object")
		}
	}
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return invalid("the body has more than the %d bytes that a message of %d needs", limit, a.maxMessageBytes)
	}
	return invalid("the body is not the JSON that it must be: %v", malformed(err))
}

// message checks the message.
func (o *outgoing) message(maxBytes int) (m Message, err error) {
	if o.Data == nil {
		return m, invalid("data is needed: the message in base64")
	}
	// As in the JSON of protobuf: either alphabet, with or without padding.
	plain := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(*o.Data), "=")
	if m.Data, err = base64.RawStdEncoding.DecodeString(plain); err != nil {
		return m, invalid("data is not base64: %v", err)
	}
	if len(m.Data) > maxBytes {
		return m, invalid("data has %d bytes, and a message may have %d", len(m.Data), maxBytes)
	}
	switch o.Type {
	case "", "DATA_TYPE_UNSPECIFIED", "BINARY":
	case "TEXT":
		if m.Text = true; !utf8.Valid(m.Data) {
			// Clients would have to fail their connections (RFC 6455, section 8.1).
			return m, invalid("data is not UTF-8, and type is TEXT")
		}
	default:
		return m, invalid("type is %.50q, and must be BINARY or TEXT", o.Type)
	}
	return m, nil
}
