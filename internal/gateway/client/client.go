// Package client is the browser's end: an ES module for pages that show what a
// route sends. The folder is an npm package as it stands.
package client

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// File is the name of the module.
const File = "iotcast.js"

// Source is the module.
//
//go:embed iotcast.js
var Source string

// Handler serves the module. Pages of any origin may import it: it is the same
// for everyone, and holds no secret.
func Handler() http.Handler {
	sum := sha256.Sum256([]byte(Source))
	etag := `"` + hex.EncodeToString(sum[:16]) + `"`

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("Cache-Control", "no-cache") // asks each time, and mostly gets a 304
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		h.Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(Source))
	})
}
