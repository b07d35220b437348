package iotcore

import (
	"strings"
	"testing"
)

func TestValidateFilterAccepts(t *testing.T) {
	for source, filters := range map[Source][]string{
		Device: {
			"$devices/#", "$devices/+/events", "$devices/+/events/#", "$devices/x/#", "$devices/x/events/a/+/b", "$devices/+/#",
			"$registries/#", "$registries/r/state", "$registries/+/+", "my/alias/#", "+/alias", "#", "+", "/",
			"$me/device/commands", "$me/#", "$share/g/$devices/#", "$share/g/#",
			strings.Repeat("a", maxFilterBytes),
		},
		Broker: {"#", "+", "a/b", "a/+/#", "/", "a//b", "температура/+", "a$b/$c", "$share/g/a/#"},
	} {
		for _, filter := range filters {
			if err := ValidateFilter(source, filter); err != nil {
				t.Errorf("ValidateFilter(%q, …): %v", source, err)
			}
		}
	}
}

func TestValidateFilterRefuses(t *testing.T) {
	const (
		short      = "at least three levels"
		monitoring = "cannot listen to monitoring topics"
		share      = "needs a group and a filter"
		dollar     = "broker topics do not begin with $"
	)
	for _, tt := range []struct {
		source         Source
		filter, reason string
	}{
		{Broker, "", "is empty"},
		{Broker, strings.Repeat("a", maxFilterBytes+1), "is 65536 bytes long"},
		{Broker, "a\xff", "not valid UTF-8"},
		{Broker, "a\x00b", "NUL"},
		{Broker, "#/a", "has # before the end"},
		{Broker, "a/#/b", "has # before the end"},
		{Broker, "a/#/", "has # before the end"},
		{Broker, "a#", `in the level "a#"`},
		{Broker, "a/##", `in the level "##"`},
		{Broker, "a/b+/c", `in the level "b+"`},
		{Broker, "++", `in the level "++"`},
		{Broker, "$SYS/#", dollar},
		{Broker, "$devices/x/events", dollar},
		{Broker, "$", dollar},
		{Broker, "$share/g/$devices/#", dollar},
		{Device, "$monitoring/x/json", monitoring},
		{Device, "$monitoring", monitoring},
		{Device, "$monitoring/#", monitoring},
		{Device, "$me/monitoring/json", monitoring},
		{Device, "$me/monitoring", monitoring},
		{Device, "$share/g/$monitoring/#", monitoring},
		{Device, "$devices", short},
		{Device, "$devices/", short},
		{Device, "$devices/+", short},
		{Device, "$devices/x", short},
		{Device, "$registries/+", short},
		{Device, "$registries/r", short},
		{Device, "$me/device", short},
		{Device, "$devices//events", "never empty"},
		{Device, "$devices//#", "never empty"},
		{Device, "$share", share},
		{Device, "$share/g", share},
		{Device, "$share/g/", share},
		{Device, "$share//a", share},
		{Device, "$share/g+/a", "must not hold wildcards"},
		{Device, "$share/#", share},
		{Device, "$share/g/$share/h/a", "cannot hold another"},
		{Device, "$share/g/a#", `in the level "a#"`},
	} {
		err := ValidateFilter(tt.source, tt.filter)
		if err == nil {
			t.Errorf("ValidateFilter(%q, %q) = nil, want an error with %q", tt.source, tt.filter, tt.reason)
			continue
		}
		msg := err.Error()
		if !strings.Contains(msg, tt.reason) || !strings.HasPrefix(msg, "topic filter "+quote(tt.filter)) {
			t.Errorf("ValidateFilter(%q, %q) = %q, want the filter and %q", tt.source, tt.filter, msg, tt.reason)
		}
		if len(msg) > 1000 {
			t.Errorf("ValidateFilter(%q, …): an error of %d bytes", tt.source, len(msg))
		}
	}
}

func FuzzValidateFilter(f *testing.F) {
	for _, filter := range []string{"", "#", "a/+/#", "$devices/+", "$share/g/a", "$share/g", "$me/monitoring", "a\x00", "\xff"} {
		f.Add(filter, true)
		f.Add(filter, false)
	}
	f.Fuzz(func(t *testing.T, filter string, broker bool) {
		source := Device
		if broker {
			source = Broker
		}
		if err := ValidateFilter(source, filter); err != nil {
			return
		}
		inner, _ := unshare(filter)
		if strings.ContainsAny(strings.TrimSuffix(inner, "#"), "#\x00") {
			t.Errorf("ValidateFilter(%q, %q) accepts what MQTT forbids", source, filter)
		}
		// A valid filter covers the topic that fills its wildcards, unless this would begin with $.
		topic := strings.NewReplacer("+", "x", "#", "y/events").Replace(inner)
		if !Match(inner, topic) {
			t.Errorf("ValidateFilter(%q, %q) accepts a filter that does not match %q", source, filter, topic)
		}
	})
}
