// Package client is the browser's end: an ES module for pages that show what a
// route sends. The folder is an npm package as it stands.
package client

import (
	_ "embed"
	"net/http"

	"github.com/iotcast/iotcast/internal/gateway/staticfile"
)

// File is the name of the module, EventsFile that of the one which it imports from
// beside it where a network breaks WebSockets.
const (
	File       = "iotcast.js"
	EventsFile = "events.js"
)

// Source is the module, eventsSource the one for server-sent events.
//
//go:embed iotcast.js
var Source string

//go:embed events.js
var eventsSource string

// Handlers serve the modules, by the names of their files.
func Handlers() map[string]http.Handler {
	return map[string]http.Handler{File: handler(Source), EventsFile: handler(eventsSource)}
}

// handler serves a module. Pages of any origin may import it: it is the same
// for everyone, and holds no secret.
func handler(source string) http.Handler {
	return staticfile.Handler(source, map[string]string{
		"Content-Type":                 "text/javascript; charset=utf-8",
		"Access-Control-Allow-Origin":  "*",
		"Cross-Origin-Resource-Policy": "cross-origin",
	})
}
