package iotcore

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// maxIDChars is the longest ID that the message formats carry.
const maxIDChars = 50

// ValidateID tells why id cannot be the registry, device or broker ID of the field called name, or returns nil. An ID is a
// topic level, so whatever would split a level, widen it or begin a reserved topic is refused.
func ValidateID(name, id string) error {
	if id == "" {
		return fmt.Errorf("%s is empty: give 1 to %d characters", name, maxIDChars)
	}
	if !utf8.ValidString(id) {
		return fmt.Errorf("%s %s is not valid UTF-8: write it in UTF-8", name, quote(id))
	}
	if err := ValidateIDLength(name, id); err != nil {
		return err
	}
	for _, r := range id {
		switch {
		case r == '/' || r == '+' || r == '#' || r == '$':
			return fmt.Errorf("%s %s holds %q, which has a meaning of its own in MQTT topics: remove it", name, quote(id), r)
		case unicode.IsControl(r):
			return fmt.Errorf("%s %s holds the control character %q: remove it", name, quote(id), r)
		}
	}
	return nil
}

// ValidateIDLength tells why an ID, though it may be empty, is too long for the message formats, or returns nil. What else it
// holds is its sender's concern.
func ValidateIDLength(name, id string) error {
	if len(id) <= maxIDChars { // as nearly all are, in bytes already
		return nil
	}
	if n := utf8.RuneCountInString(id); n > maxIDChars {
		return fmt.Errorf("%s %s has %d characters: give at most %d", name, quote(id), n, maxIDChars)
	}
	return nil
}
