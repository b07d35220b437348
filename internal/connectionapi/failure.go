package connectionapi

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// failure is an answer other than success, with a code of gRPC (google.rpc.Code)
// as the original service has it.
type failure struct {
	status  int
	code    int
	message string
}

func (f *failure) Error() string { return f.message }

func invalid(format string, args ...any) error {
	return &failure{http.StatusBadRequest, 3, fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error {
	return &failure{http.StatusNotFound, 5, fmt.Sprintf(format, args...)}
}

func forbidden(format string, args ...any) error {
	return &failure{http.StatusForbidden, 7, fmt.Sprintf(format, args...)}
}

func notAllowed(method string) error {
	return &failure{http.StatusMethodNotAllowed, 12, "the method here is " + method}
}

func internal() error {
	return &failure{http.StatusInternalServerError, 13, "the request failed, the log says why"}
}

func unavailable(message string) error {
	return &failure{http.StatusServiceUnavailable, 14, message}
}

func unauthenticated(message string) error {
	return &failure{http.StatusUnauthorized, 16, message}
}

// write sends the failure as a google.rpc.Status in JSON.
func (f *failure) write(w http.ResponseWriter) {
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750, section 3
	}
	writeJSON(w, f.status, struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Details []any  `json:"details"`
	}{f.code, f.message, []any{}})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	content, err := json.Marshal(body)
	if err != nil { // of our own types: cannot be
		status, content = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(content)
}
