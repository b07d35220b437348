// Package client is the browser's end: an ES module for pages that show what a
// route sends. The folder is an npm package as it stands.
package client

import (
	_ "embed"
	"net/http"

	"github.com/iotcast/iotcast/internal/gateway/staticfile"
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
	return staticfile.Handler(Source, map[string]string{
		"Content-Type":                 "text/javascript; charset=utf-8",
		"Access-Control-Allow-Origin":  "*",
		"Cross-Origin-Resource-Policy": "cross-origin",
	})
}
