// Package staticfile serves files that are held in memory and never change.
package staticfile

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Handler serves one file with these headers, by name and value, compressed for who takes it so. Browsers ask for it each
// time, and mostly get a 304.
func Handler(content string, headers map[string]string) http.Handler {
	hash := sha256.New()
	_, _ = hash.Write([]byte(content))
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		_, _ = hash.Write([]byte(name + headers[name]))
	}
	tag := hex.EncodeToString(hash.Sum(nil)[:16])
	etag, etagOfGzip := `"`+tag+`"`, `"`+tag+`-gzip"` // they differ in their bytes (RFC 9110, section 8.8.3.3)
	compressed := compress(content)

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
		h.Add("Vary", "Accept-Encoding")
		body := content
		if TakesGzip(r.Header) && len(compressed) < len(content) {
			body = compressed
			h.Set("Content-Encoding", "gzip")
			h.Set("ETag", etagOfGzip)
		} else {
			h.Set("ETag", etag)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
	})
}

// compress is done once. The best level is slow, and nobody waits for it but the start.
func compress(content string) string {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestCompression) // the level is valid
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	return out.String()
}

// TakesGzip reads from Accept-Encoding whether a client takes gzip (RFC 9110, section 12.5.3). There, q=0 refuses.
func TakesGzip(h http.Header) bool {
	for part := range strings.SplitSeq(strings.Join(h.Values("Accept-Encoding"), ","), ",") {
		name, parameters, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		_, q, ok := strings.Cut(strings.ReplaceAll(parameters, " ", ""), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		return !ok || err == nil && weight > 0
	}
	return false
}
