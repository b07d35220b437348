// Package permanent marks the errors of messages that can never be sent, however
// often they are tried. A processor or an output gives them to a message, so that
// a fallback can take it; an input that gets one back gives the message up.
package permanent

import (
	"errors"

	"github.com/redpanda-data/benthos/v4/public/service"
)

type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// Error marks an error as permanent.
func Error(err error) error { return failure{err} }

// Is reports whether an error is permanent. That of a batch is only if all that
// failed in it has failed for good: the rest is worth another try.
func Is(err error) bool {
	all, failed := true, false
	ofBatch := Each(err, func(_ *service.Message, err error) {
		all, failed = all && is(err), true
	})
	if !ofBatch {
		return is(err)
	}
	return all && failed
}

func is(err error) bool {
	var f failure
	return errors.As(err, &f)
}

// Each calls f for each message that has failed, as it was where it failed. It
// returns false if the error is not that of a batch, and does not tell.
func Each(err error, f func(*service.Message, error)) bool {
	var batch *service.BatchError
	if !errors.As(err, &batch) {
		return false
	}
	//nolint:staticcheck // deprecated, since its indexes are not those of the source: they are not used
	batch.WalkMessages(func(_ int, m *service.Message, err error) bool {
		if err != nil {
			f(m, err)
		}
		return true
	})
	return true
}
