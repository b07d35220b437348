// Package config holds the pipelines that run as they are. Those of the
// quickstart are part of the binary.
package config

import (
	"embed"
	"io/fs"
)

//go:embed quickstart
var files embed.FS

// Quickstart is the directory config/quickstart.
func Quickstart() fs.FS {
	sub, err := fs.Sub(files, "quickstart")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	return sub
}
