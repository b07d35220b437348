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
			"$me/device/state/+", "$me/registry/config/a", "$me/registry/#", "$me/+/commands", "$devices/x/+", "$devices/x/+/a",
			"$registries/r/events/#", "$devices/+/+/+/#", "$devices/x/events/",
			"$devices/" + strings.Repeat("ж", 50) + "/events", "$devices/x/events/" + strings.Repeat("ж", 1024),
			"$devices/x/events/" + strings.Repeat("ж", 1024) + "/#", "$devices/x/+/" + strings.Repeat("/+", 10),
			strings.Repeat("a", maxFilterBytes), strings.Repeat("a/", maxLevels-1) + "#",
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
		{Device, "$devices/x/telemetry", `comes events, state, commands or config, and not "telemetry"`},
		{Device, "$devices/+/json/#", `and not "json"`},
		{Device, "$devices/x//a", `and not ""`},
		{Device, "$registries/r/event", `and not "event"`},
		{Device, "$devices/" + strings.Repeat("x", 51) + "/events", "has 51 characters"},
		{Device, "$devices/a$b/events", "holds '$'"},
		{Device, "$devices/x/events/" + strings.Repeat("x", 1025), "a subtopic has at most 1024 characters, and this asks for 1025"},
		{Device, "$devices/+/+/" + strings.Repeat("/", 10) + strings.Repeat("x", 1015), "asks for 1025"},
		{Device, "$me/device/events/" + strings.Repeat("x", 1025), "asks for 1025"},
		{Device, strings.Repeat("a/", maxLevels) + "#", "has 201 levels"},
		{Broker, strings.Repeat("a/", maxLevels) + "#", "has 201 levels"},
		{Device, "$me/device/telemetry", `and not "telemetry"`},
		{Device, "$me/registry/events", "comes commands or config"},
		{Device, "$me/gateway/events", "comes device, registry or monitoring"},
		{Device, "$me", short},
		{Device, "$me/+", short},
		{Device, "$SYS/broker/uptime", "no topics begin with $SYS"},
		{Device, "$device/x/events", "no topics begin with $device:"},
		{Device, "$", "no topics begin with $:"},
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

func TestValidateSubscription(t *testing.T) {
	for _, filter := range []string{
		"$monitoring/#", "$monitoring/+/json", "$monitoring/d/+", "$monitoring/d/#", "$monitoring/d/json",
		"$me/monitoring/json", "$me/monitoring/#", "$me/#", "$devices/+/events", "#",
	} {
		if err := ValidateSubscription(Device, filter); err != nil {
			t.Error(err)
		}
	}
	for filter, reason := range map[string]string{
		"$monitoring/d":          "at least three levels",
		"$monitoring/d/events":   "after $monitoring/d comes json, and no more",
		"$monitoring/d/json/a":   "and no more",
		"$monitoring//json":      "never empty",
		"$me/monitoring/a":       "after $me/monitoring comes json",
		"$me/monitoring":         "at least three levels",
		"$devices/+":             "at least three levels",
		"$share/g/$devices/+/a#": "must stand alone",
	} {
		if err := ValidateSubscription(Device, filter); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("ValidateSubscription(%q) = %v, want %q", filter, err, reason)
		}
	}
	if err := ValidateSubscription(Broker, "$monitoring/#"); err == nil {
		t.Error("a broker has monitoring topics")
	}
}

func TestRegistryFilter(t *testing.T) {
	for filter, want := range map[string]string{
		"$devices/#":   "$devices/+/events/#",
		"$devices/+/#": "$devices/+/#",
		"$devices/d/#": "$devices/d/#",
		"#":            "#",
	} {
		if got := RegistryFilter(filter); got != want {
			t.Errorf("RegistryFilter(%q) = %q, want %q", filter, got, want)
		}
	}
	for filter, want := range map[string]string{
		"$registries/#":   "$registries/+/commands/#",
		"$registries/r/#": "$registries/r/#",
		"$devices/#":      "$devices/#",
	} {
		if got := DeviceFilter(filter); got != want {
			t.Errorf("DeviceFilter(%q) = %q, want %q", filter, got, want)
		}
	}
}

// A filter is valid just if it covers a topic: of those that it could cover, one that is made of it, and whatever the fuzzer
// finds.
func FuzzValidateFilter(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""},
		{"#", "a"},
		{"a/+/#", "a/b"},
		{"$devices/+", "$devices/x"},
		{"$share/g/a", "a"},
		{"$share/g", "g"},
		{"$devices/+/+", "$devices/x/events"},
		{"$devices/x/+/#", "$devices/x/state/a/b"},
		{"$registries/#", "$registries/r/config"},
		{"$devices/x/json", "$devices/x/json"},
		{"a\x00", "a\x00"},
		{"\xff", "\xff"},
		{"$me/device/#", "$me/device/events"},
	} {
		f.Add(seed[0], seed[1], true)
		f.Add(seed[0], seed[1], false)
	}
	f.Fuzz(func(t *testing.T, filter, topic string, broker bool) {
		source := Device
		if broker {
			source = Broker
		}
		err := ValidateFilter(source, filter)
		if err != nil {
			if Match(filter, topic) && validateSyntax(filter) == nil && ValidateTopic(source, topic) == nil {
				t.Errorf("ValidateFilter(%q, %q) = %v, and yet it matches %q", source, filter, err, topic)
			}
			return
		}
		inner, _ := unshare(filter)
		if strings.ContainsAny(strings.TrimSuffix(inner, "#"), "#\x00") {
			t.Errorf("ValidateFilter(%q, %q) accepts what MQTT forbids", source, filter)
		}
		if IsOwn(inner) {
			return // its topics are made of those of a device, see FuzzOwn
		}
		for _, covered := range coverable(inner) {
			if Match(inner, covered) && ValidateTopic(source, covered) == nil {
				return
			}
		}
		t.Errorf("ValidateFilter(%q, %q) accepts a filter that seems to match nothing", source, filter)
	})
}

// coverable gives topics that a filter might cover: for each name, its wildcards replaced in the plainest way.
func coverable(filter string) (topics []string) {
	for _, name := range []string{Events, State, Commands, Config} {
		for _, more := range []string{"", "/" + name, "/x/" + name} {
			levels := strings.Split(filter, "/")
			for i, level := range levels {
				switch {
				case level == "+" && i == 2:
					levels[i] = name
				case level == "+" && i < 2:
					levels[i] = "x"
				case level == "+":
					levels[i] = ""
				}
			}
			topic := strings.Join(levels, "/")
			if rest, ok := strings.CutSuffix(topic, "#"); ok {
				topic = strings.TrimSuffix(rest, "/") + more
			}
			topics = append(topics, topic)
		}
	}
	return topics
}
