// Package socketerr tells what the errors of sockets mean, which Windows numbers otherwise than others.
package socketerr

import "errors"

// IsInUse reports whether another program listens on an address.
func IsInUse(err error) bool { return errors.Is(err, inUse) }

// IsRefused reports whether nobody listens at the address that was dialled.
func IsRefused(err error) bool { return errors.Is(err, refused) }

// IsReset reports whether the other side has ended a connection, and not by a FIN.
func IsReset(err error) bool {
	for _, reset := range resets {
		if errors.Is(err, reset) {
			return true
		}
	}
	return false
}
