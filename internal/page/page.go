// Package page serves the pages of iotcast itself: the viewer of a gateway and the console. The folder holds what both are made
// of, as modules for the browser; bundle makes one self-contained document of a page and those.
package page

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/iotcast/iotcast/internal/staticfile"
)

// The elements of a page that the policy names. There is one of each.
const (
	styleTag  = "<style>"
	styleEnd  = "</style>"
	scriptTag = `<script type="module">`
	scriptEnd = "</script>"
)

// Handler serves a page, which holds all that it needs in one style and one script.
func Handler(document string) http.Handler {
	document = strings.ReplaceAll(document, "\r\n", "\n") // browsers hash scripts and styles after this normalisation
	return staticfile.Handler(document, map[string]string{
		"Content-Type":            "text/html; charset=utf-8",
		"Content-Security-Policy": policy(document),
		"Referrer-Policy":         "no-referrer", // the query may hold a token
	})
}

// policy allows the page's own style and script, by their hashes, requests and WebSockets to where it comes from, and nothing
// else. Trusted Types turn an assignment of a string to innerHTML, should one ever creep in, into an error.
func policy(document string) string {
	return strings.Join([]string{
		"default-src 'none'",
		"style-src " + hashSource(between(document, styleTag, styleEnd)),
		"script-src " + hashSource(between(document, scriptTag, scriptEnd)),
		"connect-src 'self'", // which is WebSockets, too (CSP 3, section 6.7.2.8)
		"img-src data:",      // the icon
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'self'",
		"require-trusted-types-for 'script'",
	}, "; ")
}

func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func between(s, open, end string) string {
	_, s, _ = strings.Cut(s, open)
	s, _, _ = strings.Cut(s, end)
	return s
}
