package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Part is where a message stands in an envelope, and what can be chosen by. IDs that are not there are empty.
type Part struct {
	EventID  string
	DeviceID string
	Topic    string
	From, To int  // in bytes
	Empty    bool // its payload is
}

var (
	errNotJSON = errors.New("it is not JSON")
	errTwice   = errors.New("a field is there twice")
)

// Scan calls each with the messages of an envelope, whoever wrote it. It fails for what is not an envelope, and for one in
// which a field that counts stands twice: two readers could take it for two things. Some messages may have been given to
// each before.
func Scan(text []byte, each func(Part)) error {
	if !json.Valid(text) {
		return errNotJSON
	}
	s := scanner{all: text}
	found := false
	err := s.object(func(name []byte) error {
		if string(name) != "messages" {
			return s.skip()
		}
		if found {
			return errTwice
		}
		found = true
		return s.array(func() error {
			p, err := s.message()
			if err == nil {
				each(p)
			}
			return err
		})
	})
	if err == nil && !found {
		err = errors.New(`it has no field "messages"`)
	}
	return err
}

// scanner stands somewhere in valid JSON.
type scanner struct {
	all []byte
	at  int
}

// message reads a message.
func (s *scanner) message() (p Part, err error) {
	s.space()
	p.From = s.at
	var metadata, details, eventID, deviceID, topic, payload bool // were there
	err = s.object(func(name []byte) error {
		switch string(name) {
		case "event_metadata":
			return s.once(&metadata, func(name []byte) error {
				if string(name) == "event_id" {
					return s.text(&eventID, &p.EventID)
				}
				return s.skip()
			})
		case "details":
			return s.once(&details, func(name []byte) error {
				switch string(name) {
				case "device_id":
					return s.text(&deviceID, &p.DeviceID)
				case "mqtt_topic":
					return s.text(&topic, &p.Topic)
				case "payload":
					if payload {
						return errTwice
					}
					payload, p.Empty = true, bytes.HasPrefix(s.all[s.at:], []byte(`""`))
				}
				return s.skip()
			})
		}
		return s.skip()
	})
	p.To = s.at
	return p, err
}

// once reads a value that must not have been there. If it is an object, member is
// called as by object.
func (s *scanner) once(there *bool, member func(name []byte) error) error {
	if *there {
		return errTwice
	}
	*there = true
	if s.all[s.at] != '{' {
		return s.skip()
	}
	return s.object(member)
}

// text reads a value that must not have been there, into to if it is a string.
func (s *scanner) text(there *bool, to *string) error {
	if *there {
		return errTwice
	}
	*there = true
	if s.all[s.at] != '"' {
		return s.skip()
	}
	*to = string(s.string())
	return nil
}

// object calls member at the value of each member, which it must read. The name
// holds until it does.
func (s *scanner) object(member func(name []byte) error) error {
	if s.space(); s.all[s.at] != '{' {
		return fmt.Errorf("byte %d does not begin an object", s.at)
	}
	s.at++
	for s.space(); s.all[s.at] != '}'; s.space() {
		if s.all[s.at] == ',' {
			s.at++
			s.space()
		}
		name := s.string()
		s.space()
		s.at++ // the colon
		s.space()
		if err := member(name); err != nil {
			return err
		}
	}
	s.at++
	return nil
}

// array calls element at each element, which it must read.
func (s *scanner) array(element func() error) error {
	if s.all[s.at] != '[' {
		return fmt.Errorf("byte %d does not begin an array", s.at)
	}
	s.at++
	for s.space(); s.all[s.at] != ']'; s.space() {
		if s.all[s.at] == ',' {
			s.at++
			s.space()
		}
		if err := element(); err != nil {
			return err
		}
	}
	s.at++
	return nil
}

// space passes over white space (RFC 8259, section 2).
func (s *scanner) space() {
	for s.at < len(s.all) {
		switch s.all[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// string reads a string.
func (s *scanner) string() []byte {
	raw := s.quoted()
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	var value string
	_ = json.Unmarshal(raw, &value) // it is valid
	return []byte(value)
}

// quoted passes over a string, which it returns with its quotes.
func (s *scanner) quoted() []byte {
	from := s.at
	s.at++
	for end := from; ; {
		if end < s.at { // the quote that seemed to be the end was escaped
			end = s.at + bytes.IndexByte(s.all[s.at:], '"')
		}
		escape := bytes.IndexByte(s.all[s.at:end], '\\')
		if escape < 0 {
			s.at = end + 1
			return s.all[from:s.at]
		}
		s.at += escape + 2
	}
}

// skip passes over a value. It does not fail.
func (s *scanner) skip() error {
	for depth := 0; ; {
		switch s.all[s.at] {
		case '"':
			s.quoted()
		case '{', '[':
			depth++
			s.at++
		case '}', ']':
			depth--
			s.at++
		default: // a number, a word, or what is between values
			for s.at < len(s.all) && bytes.IndexByte([]byte(`"{}[],`), s.all[s.at]) < 0 {
				s.at++
			}
			if depth > 0 && s.all[s.at] == ',' {
				s.at++
			}
		}
		if depth == 0 {
			return nil
		}
	}
}
