// Package permanent marks the errors of messages that can never be sent, however
// often they are tried. An output returns them, so that a fallback can take the
// message; an input that gets one back gives the message up.
package permanent

import "errors"

type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// Error marks an error as permanent.
func Error(err error) error { return failure{err} }

// Is reports whether an error is permanent.
func Is(err error) bool {
	var f failure
	return errors.As(err, &f)
}
