package version

import (
	"runtime/debug"
	"testing"
)

func TestNumber(t *testing.T) {
	commit := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}}
	for name, one := range map[string]struct {
		info debug.BuildInfo
		want string
	}{
		"of a tag":                     {debug.BuildInfo{Main: debug.Module{Path: module, Version: "v0.2.0"}}, "0.2.0"},
		"of a commit":                  {debug.BuildInfo{Main: debug.Module{Path: module, Version: "v0.2.1-0.20261127101500-0123456789ab+dirty"}, Settings: commit}, "0.2.1-0.20261127101500-0123456789ab+dirty"},
		"of a commit that has no name": {debug.BuildInfo{Main: debug.Module{Path: module, Version: "(devel)"}, Settings: commit}, "devel-0123456789ab"},
		"of nothing":                   {debug.BuildInfo{Main: debug.Module{Path: module, Version: "(devel)"}}, "devel"},
		"in another program":           {debug.BuildInfo{Main: debug.Module{Path: "example.com/own", Version: "v9.9.9"}, Deps: []*debug.Module{{Path: module, Version: "v0.3.0"}}}, "0.3.0"},
		"in another, from a folder":    {debug.BuildInfo{Main: debug.Module{Path: "example.com/own", Version: "v9.9.9"}, Deps: []*debug.Module{{Path: module, Version: "v0.0.0", Replace: &debug.Module{Path: "../iotcast"}}}, Settings: commit}, "devel"},
	} {
		if got := numberOf(&one.info); got != one.want {
			t.Errorf("%s: %q, want %q", name, got, one.want)
		}
	}
}

func TestDate(t *testing.T) {
	at := []debug.BuildSetting{{Key: "vcs.time", Value: "2026-11-27T12:15:00+02:00"}}
	for name, one := range map[string]struct {
		info debug.BuildInfo
		want string
	}{
		"of a commit":        {debug.BuildInfo{Main: debug.Module{Path: module}, Settings: at}, "2026-11-27T10:15:00Z"},
		"of a tag":           {debug.BuildInfo{Main: debug.Module{Path: module, Version: "v0.2.0"}}, "unknown"},
		"in another program": {debug.BuildInfo{Main: debug.Module{Path: "example.com/own"}, Settings: at}, "unknown"},
	} {
		if got := dateOf(&one.info); got != one.want {
			t.Errorf("%s: %q, want %q", name, got, one.want)
		}
	}
}
