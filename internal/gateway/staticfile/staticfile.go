// Package staticfile serves files that are held in memory and never change.
package staticfile

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Handler serves one file with these headers, by name and value. Browsers ask for
// it each time, and mostly get a 304.
func Handler(content string, headers map[string]string) http.Handler {
	hash := sha256.New()
	_, _ = hash.Write([]byte(content))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		_, _ = hash.Write([]byte(name + headers[name]))
	}
	etag := `"` + hex.EncodeToString(hash.Sum(nil)[:16]) + `"`

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		for name, value := range headers {
			h.Set(name, value)
		}
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	})
}
