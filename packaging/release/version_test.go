package main

import "testing"

func TestVersion(t *testing.T) {
	for described, want := range map[string]string{
		"v0.2.0-0-g0123456789ab":            "0.2.0",
		"v0.2.0-0-g0123456789ab-dirty":      "0.3.0-dev.0.g0123456789ab.dirty",
		"v0.2.0-7-g0123456789ab":            "0.3.0-dev.7.g0123456789ab",
		"v1.2.3-12-g0123456789ab-dirty":     "1.3.0-dev.12.g0123456789ab.dirty",
		"v0.3.0-rc.1-0-g0123456789ab":       "0.3.0-rc.1",
		"v0.3.0-rc.1-4-g0123456789ab":       "0.3.0-rc.1.4.g0123456789ab",
		"v0.3.0-rc.1-4-g0123456789ab-dirty": "0.3.0-rc.1.4.g0123456789ab.dirty",
	} {
		if got, err := ofTag(described); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", described, got, err, want)
		}
	}
	if got, err := ofTag("v0.2-0-g0123456789ab"); err == nil {
		t.Errorf("the tag v0.2 is taken for version %q", got)
	}
	for _, given := range []string{"v0.2.0", "0.2", "latest", "0.2.0~dev"} {
		if got, err := versionOf(".", given); err == nil {
			t.Errorf("-version %s is taken for version %q", given, got)
		}
	}
}
