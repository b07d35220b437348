package iotcore

import (
	"strings"
	"testing"
)

func TestValidateTopic(t *testing.T) {
	for source, topics := range map[Source][]string{
		Device: {"$devices/x/events", "$devices/x/state/a/b", "$registries/r/commands", "my/alias", "/", "$devices/x/config/" + strings.Repeat("ж", 1024)},
		Broker: {"a", "a/b", "/", "a/$b", "температура"},
	} {
		for _, topic := range topics {
			if err := ValidateTopic(source, topic); err != nil {
				t.Errorf("ValidateTopic(%q, …): %v", source, err)
			}
		}
	}
	for _, tt := range []struct {
		source        Source
		topic, reason string
	}{
		{Broker, "", "is empty"},
		{Broker, "a/+", "holds a wildcard"},
		{Broker, "a#", "holds a wildcard"},
		{Broker, "a\x00", "NUL"},
		{Broker, "$devices/x/events", "do not begin with $"},
		{Broker, strings.Repeat("/", 200), "201 levels"},
		{Device, "$devices/x", "is none of"},
		{Device, "$devices/x/telemetry", "is none of"},
		{Device, "$SYS/a", "is none of"},
		{Device, "$me/device/events", "is none of"}, // to be expanded first
		{Device, "$monitoring/x/json", "only the service"},
		{Device, "$monitoring/x", "only the service"},
		{Device, "$devices/" + strings.Repeat("x", 51) + "/events", "51 characters"},
		{Device, "$devices/x/events/" + strings.Repeat("x", 1025), "subtopic of 1025 characters"},
	} {
		if err := ValidateTopic(tt.source, tt.topic); err == nil || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("ValidateTopic(%q, %q) = %v, want %q", tt.source, tt.topic, err, tt.reason)
		}
	}
}
