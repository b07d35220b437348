package feed

import (
	"fmt"
	"net/http"
)

// RefusedError ends a feed: the gateway has refused the connection, and would do so again.
type RefusedError struct {
	Status int    // of HTTP, or 4401 when a token has expired that no function replaces
	Reason string // in the gateway's words
}

func (e *RefusedError) Error() string {
	hint := "look at the gateway's log"
	switch e.Status {
	case http.StatusBadRequest:
		hint = "a parameter of the URL or of the options is wrong, or the path cannot do what it asks for"
	case http.StatusUnauthorized, int(expired):
		hint = "give a token that is valid (Options.Token)"
	case http.StatusForbidden:
		hint = "the token or the address of this client has no right to this path"
	case http.StatusNotFound:
		hint = "no gateway route has this path"
	}
	return fmt.Sprintf("feed: refused with %d (%s): %s", e.Status, e.Reason, hint)
}
