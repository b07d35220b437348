package gateway

import (
	"net/http"
	"slices"
	"strings"
)

// deflateAnswer returns the answer to the client's first offer of permessage-deflate that
// can be accepted (RFC 7692, section 7.1), or "" if there is none. A message is compressed
// once for all clients. So there is no context takeover either way, and the window is
// always the largest.
func deflateAnswer(h http.Header) string {
	for _, offer := range strings.Split(strings.Join(h.Values("Sec-Websocket-Extensions"), ","), ",") {
		name, parameters, _ := strings.Cut(offer, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "permessage-deflate") {
			continue
		}
		if answer, ok := acceptDeflate(parameters); ok {
			return answer
		}
	}
	return ""
}

// acceptDeflate answers one offer. It must decline an offer with a parameter that is
// unknown, comes twice, or has a value that it cannot have (RFC 7692, section 7.1).
func acceptDeflate(parameters string) (answer string, ok bool) {
	answer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
	var seen []string
	for p := range strings.SplitSeq(parameters, ";") {
		if p = strings.TrimSpace(p); p == "" && parameters == "" {
			continue
		}
		name, value, hasValue := strings.Cut(p, "=")
		name, value = strings.TrimSpace(name), strings.Trim(strings.TrimSpace(value), `"`)
		if slices.Contains(seen, name) {
			return "", false
		}
		seen = append(seen, name)
		switch name {
		case "client_no_context_takeover", "server_no_context_takeover":
			if hasValue {
				return "", false
			}
		case "client_max_window_bits": // we can read messages of any window
			if hasValue && !windowBits(value) {
				return "", false
			}
		case "server_max_window_bits": // Go's writer knows the largest window only
			if value != "15" {
				return "", false
			}
			answer += "; server_max_window_bits=15"
		default:
			return "", false
		}
	}
	return answer, true
}

// windowBits reports whether the value is one of 8 to 15, without leading zeros
// (RFC 7692, section 7.1.2).
func windowBits(value string) bool {
	return slices.Contains([]string{"8", "9", "10", "11", "12", "13", "14", "15"}, value)
}
