// Package version is that of the program: of its module as `go install` names it, of the commit that `go build` found, or what
// the linker was told.
package version

import (
	"runtime/debug"
	"strings"
	"time"
)

// What the linker sets where there is no repository to read it from, as in an image:
//
//	-ldflags "-X github.com/iotcast/iotcast/internal/version.linked=0.1.0 -X github.com/iotcast/iotcast/internal/version.date=2026-01-02T15:04:05Z"
var linked, date string

// Number is the version without v, such as 0.1.0, or devel where nothing is known. What stands behind a hyphen or a plus names
// the commit, and whether files were changed after it.
func Number() string {
	if linked != "" {
		return strings.TrimPrefix(linked, "v")
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	return numberOf(info)
}

// UserAgent is how requests of this program name it (RFC 9110, section 10.1.5).
func UserAgent() string { return "iotcast/" + Number() }

const unknown = "devel"

func numberOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; info.Main.Path == module && v != "" && v != "(devel)" {
		return strings.TrimPrefix(v, "v")
	}
	for _, m := range info.Deps { // of a binary of somebody else
		if m.Path == module && m.Replace == nil {
			return strings.TrimPrefix(m.Version, "v")
		}
	}
	if revision := setting(info, "vcs.revision"); info.Main.Path == module && len(revision) >= 12 {
		return unknown + "-" + revision[:12]
	}
	return unknown
}

const module = "github.com/iotcast/iotcast"

// Date is when it was built, or the time of the commit that it was built from, in UTC by RFC 3339; unknown where nothing tells,
// as of a version that `go install` has fetched.
func Date() string {
	if date != "" {
		return date
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return undated
	}
	return dateOf(info)
}

const undated = "unknown"

func dateOf(info *debug.BuildInfo) string {
	if info.Main.Path != module {
		return undated
	}
	at, err := time.Parse(time.RFC3339, setting(info, "vcs.time"))
	if err != nil {
		return undated
	}
	return at.UTC().Format(time.RFC3339)
}

func setting(info *debug.BuildInfo, key string) string {
	for _, one := range info.Settings {
		if one.Key == key {
			return one.Value
		}
	}
	return ""
}
