package iotcore

import (
	"slices"
	"strings"
	"testing"
)

func TestParseTopic(t *testing.T) {
	for topic, want := range map[string]Topic{
		"":                           {},
		"$":                          {},
		"a/b/c":                      {},
		"$devices":                   {},
		"$devices/":                  {},
		"$devices/x":                 {},
		"$devices/x/":                {},
		"$devices//events":           {},
		"$devicesx/x/events":         {},
		"$devices/x/events":          {DeviceTopic, "x", "events", ""},
		"$devices/x/events/":         {DeviceTopic, "x", "events", ""},
		"$devices/x/state/a/b":       {DeviceTopic, "x", "state", "a/b"},
		"$registries/r/commands/all": {RegistryTopic, "r", "commands", "all"},
		"$registries/r":              {},
		"$monitoring/x/json":         {MonitoringTopic, "x", "json", ""},
		"$me/device/events":          {},
		"$SYS/broker/uptime":         {},
		"$share/g/$devices/x/events": {},
		"/$devices/x/events":         {},
		"$devices/температура/events/двор": {DeviceTopic, "температура", "events", "двор"},
	} {
		if got := ParseTopic(topic); got != want {
			t.Errorf("ParseTopic(%q) = %+v, want %+v", topic, got, want)
		}
	}
}

func TestDeviceID(t *testing.T) {
	for topic, want := range map[string]string{
		"$devices/x/events":     "x",
		"$devices/x/events/a/b": "x",
		"$devices/x/state":      "x",
		"$devices/x/commands":   "", // published by the registry
		"$devices/x/config/a":   "",
		"$devices/x":            "",
		"$registries/r/events":  "",
		"$monitoring/x/json":    "",
		"kitchen/temperature":   "",
		"":                      "",
	} {
		if got := DeviceID(topic); got != want {
			t.Errorf("DeviceID(%q) = %q, want %q", topic, got, want)
		}
	}
}

func TestStandardTopics(t *testing.T) {
	for topic, want := range map[string]struct{ standard, permanent, fromDevice bool }{
		"$devices/x/events":      {true, false, true},
		"$devices/x/state/a":     {true, true, true},
		"$devices/x/commands":    {true, false, false},
		"$devices/x/config":      {true, true, false},
		"$registries/r/state":    {true, true, true},
		"$registries/r/config/a": {true, true, false},
		"$monitoring/x/json":     {true, false, false},
		"$monitoring/x/json/a":   {},
		"$monitoring/x/events":   {},
		"$devices/x/telemetry":   {},
		"$devices/x/json":        {},
		"a/state":                {},
	} {
		got := ParseTopic(topic)
		if got.Standard() != want.standard || got.Permanent() != want.permanent || got.FromDevice() != want.fromDevice {
			t.Errorf("%q: standard %v, permanent %v, from device %v", topic, got.Standard(), got.Permanent(), got.FromDevice())
		}
	}
	if topic := MonitoringTopicOf("x"); topic != "$monitoring/x/json" {
		t.Errorf("monitoring topic %q", topic)
	}
}

func TestHotFunctionsDoNotAllocate(t *testing.T) {
	const topic = "$devices/areqjd6un3afc3cefcvm/events/kitchen/temperature"
	if n := testing.AllocsPerRun(100, func() {
		if ParseTopic(topic).Subtopic == "" || DeviceID(topic) == "" || !Match("$devices/+/events/#", topic) {
			t.Fatal("unexpected result")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestValidateID(t *testing.T) {
	for _, id := range []string{"x", "arenou2oj4ct42eq8g3n", "a b", "ж", strings.Repeat("ж", 50)} {
		if err := ValidateID("registry_id", id); err != nil {
			t.Errorf("ValidateID(%q) = %v, want nil", id, err)
		}
	}
	for id, reason := range map[string]string{
		"":                      "is empty",
		strings.Repeat("a", 51): "has 51 characters",
		"a/b":                   "holds '/'",
		"+":                     "holds '+'",
		"a#":                    "holds '#'",
		"$a":                    "holds '$'",
		"a\x00":                 `holds the control character '\x00'`,
		"a\nb":                  `holds the control character '\n'`,
		"a\u0085":               "control character",
		"\xff":                  "not valid UTF-8",
	} {
		err := ValidateID("device_id", id)
		if err == nil {
			t.Errorf("ValidateID(%q) = nil, want an error with %q", id, reason)
			continue
		}
		if msg := err.Error(); !strings.HasPrefix(msg, "device_id ") || !strings.Contains(msg, reason) {
			t.Errorf("ValidateID(%q) = %q, want the field name and %q", id, msg, reason)
		}
	}
}

func TestDefaultFilters(t *testing.T) {
	for _, tt := range []struct {
		source           Source
		registry, device string
		want             []string
	}{
		{Device, "r", "", []string{"$devices/+/#", "$registries/r/#"}},
		{Device, "r", "d", []string{"$devices/d/#"}},
		{Broker, "", "", []string{"#"}},
	} {
		got := DefaultFilters(tt.source, tt.registry, tt.device)
		if !slices.Equal(got, tt.want) {
			t.Errorf("DefaultFilters(%q, %q, %q) = %q, want %q", tt.source, tt.registry, tt.device, got, tt.want)
		}
		for _, filter := range got {
			if err := ValidateFilter(tt.source, filter); err != nil {
				t.Errorf("a default filter is refused: %v", err)
			}
		}
	}
}

func FuzzParseTopic(f *testing.F) {
	for _, topic := range []string{"$devices/x/events", "$devices/x/events/", "$registries/r/state/a/b", "$monitoring/x/json", "$devices/x", "a/b"} {
		f.Add(topic)
	}
	roots := map[Kind]string{DeviceTopic: "$devices", RegistryTopic: "$registries", MonitoringTopic: "$monitoring"}
	f.Fuzz(func(t *testing.T, topic string) {
		p := ParseTopic(topic)
		if p.Kind == OtherTopic {
			if p != (Topic{}) {
				t.Fatalf("ParseTopic(%q) = %+v: an OtherTopic has no fields", topic, p)
			}
			return
		}
		if strings.Contains(p.ID+p.Name, "/") || p.ID == "" || p.Name == "" {
			t.Fatalf("ParseTopic(%q) = %+v: not one level each", topic, p)
		}
		rebuilt := roots[p.Kind] + "/" + p.ID + "/" + p.Name
		if p.Subtopic != "" {
			rebuilt += "/" + p.Subtopic
		}
		// An empty subtopic and none are the same Topic.
		if rebuilt != topic && rebuilt+"/" != topic {
			t.Fatalf("ParseTopic(%q) rebuilds as %q", topic, rebuilt)
		}
	})
}
