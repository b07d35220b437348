package registry

import "errors"

// What an error of this package is about, for errors.Is.
var (
	ErrTaken     = errors.New("taken by someone else")      // an ID, a certificate or an alias
	ErrInvalid   = errors.New("can never be right")         // a value, or a topic
	ErrNotFound  = errors.New("there is no such principal") // or it is gone
	ErrForbidden = errors.New("forbidden")                  // a topic, or all of them
	ErrNoRoom    = errors.New("there is no room")           // now; there may be later
)

// because makes err one of a kind. The message stays as it is.
func because(kind, err error) error {
	if err == nil {
		return nil
	}
	return &reason{kind, err}
}

type reason struct{ kind, err error }

func (r *reason) Error() string   { return r.err.Error() }
func (r *reason) Unwrap() []error { return []error{r.kind, r.err} }
