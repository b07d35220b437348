package token

import (
	"net/http"
	"strings"
)

// Bearer is the token in the Authorization header of a request (RFC 6750, section
// 2.1). It returns false if there is none of that kind, and an empty token for a
// header that stands twice: it may not (RFC 9110, section 5.3), and what is behind a
// proxy could take the other for who is asking.
func Bearer(h http.Header) (raw string, ok bool) {
	all := h.Values("Authorization")
	for _, value := range all {
		scheme, credentials, _ := strings.Cut(value, " ")
		if strings.EqualFold(scheme, "Bearer") {
			raw, ok = strings.TrimSpace(credentials), true
		}
	}
	if len(all) > 1 {
		raw = ""
	}
	return raw, ok
}
