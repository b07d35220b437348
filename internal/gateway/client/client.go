// Package client serves the browser's end of a route: ES modules for pages that show what
// the route sends. Its folder is an npm package as it stands.
package client

import (
	"embed"
	"net/http"

	"github.com/iotcast/iotcast/internal/staticfile"
)

// The files of the modules. Pages import File. That imports EventsFile, which must stand
// beside it, where a network breaks WebSockets. A page whose tabs share a connection
// imports SharedFile, too. That starts WorkerFile, which must stand beside it.
const (
	File       = "iotcast.js"
	EventsFile = "events.js"
	SharedFile = "shared.js"
	WorkerFile = "sharedworker.js"
)

//go:embed iotcast.js events.js shared.js sharedworker.js
var files embed.FS

// Source is the text of the module that pages import.
var Source = read(File)

func read(name string) string {
	source, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(source)
}

// Handlers returns what serves the modules, by the names of their files.
func Handlers() map[string]http.Handler {
	handlers := map[string]http.Handler{}
	for _, name := range []string{File, EventsFile, SharedFile, WorkerFile} {
		handlers[name] = handler(read(name))
	}
	return handlers
}

// handler serves a module. Pages of any origin may import it, since it is the same for
// everyone, and holds no secret.
func handler(source string) http.Handler {
	return staticfile.Handler(source, map[string]string{
		"Content-Type":                 "text/javascript; charset=utf-8",
		"Access-Control-Allow-Origin":  "*",
		"Cross-Origin-Resource-Policy": "cross-origin",
	})
}
