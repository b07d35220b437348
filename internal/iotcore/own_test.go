package iotcore

import (
	"strings"
	"testing"
)

func TestOwnTopics(t *testing.T) {
	for own, topic := range map[string]string{
		"$me/device/events":         "$devices/d/events",
		"$me/device/state/a/b":      "$devices/d/state/a/b",
		"$me/device/commands/":      "$devices/d/commands/",
		"$me/device/config":         "$devices/d/config",
		"$me/registry/commands/all": "$registries/r/commands/all",
		"$me/registry/config":       "$registries/r/config",
		"$me/monitoring/json":       "$monitoring/d/json",
	} {
		if got := ExpandOwn(own, "r", "d"); got != topic {
			t.Errorf("ExpandOwn(%q) = %q, want %q", own, got, topic)
		}
		if got := OwnName(topic); got != own {
			t.Errorf("OwnName(%q) = %q, want %q", topic, got, own)
		}
	}
	for _, topic := range []string{"$me", "$me/", "$me/device", "$me/device/telemetry", "$me/registry/events", "$me/monitoring/json/a", "$mex/device/events", "a", ""} {
		if got := ExpandOwn(topic, "r", "d"); got != "" {
			t.Errorf("ExpandOwn(%q) = %q, want nothing", topic, got)
		}
	}
	for _, topic := range []string{"$registries/r/events", "$devices/d/telemetry", "a/b", ""} {
		if got := OwnName(topic); got != "" {
			t.Errorf("OwnName(%q) = %q, want nothing", topic, got)
		}
	}
}

// What a $me topic stands for is a standard topic that has this name.
func FuzzOwn(f *testing.F) {
	f.Add("$me/device/events")
	f.Add("$me/registry/config/a/b")
	f.Add("$me/monitoring/json")
	f.Fuzz(func(t *testing.T, own string) {
		topic := ExpandOwn(own, "r", "d")
		if topic == "" {
			return
		}
		if got := OwnName(topic); got != own {
			t.Errorf("OwnName(ExpandOwn(%q)) = %q", own, got)
		}
		// A filter on the $me topic is as valid as one on what it stands for.
		if strings.HasPrefix(topic, monitoringLevel) {
			return
		}
		if own, topic := ValidateFilter(Device, own), ValidateFilter(Device, topic); (own == nil) != (topic == nil) {
			t.Errorf("valid: %v, %v", own, topic)
		}
	})
}
