package registry

import (
	"slices"
	"strings"
	"testing"

	"github.com/iotcast/iotcast/internal/iotcore"
)

func TestPublish(t *testing.T) {
	d := directory(t, lab())
	for _, tt := range []struct {
		who, topic string
		names      string // audience:topic …
		permanent  bool
	}{
		{"d1", "$devices/d1/events", "r:$devices/d1/events r:kitchen/events", false},
		{"d1", "kitchen/events", "r:$devices/d1/events r:kitchen/events", false},
		{"d1", "$me/device/state/a", "r:$devices/d1/state/a r:kitchen/state/a", true},
		{"d2", "hall/state", "r:$devices/d2/state r:hall/state", true},
		{"d3", "$registries/r/events/a", "r:$registries/r/events/a", false},
		{"d3", "$registries/r/state", "r:$registries/r/state", true},
		{"r", "$devices/d3/commands", "d3:$devices/d3/commands d3:$me/device/commands", false},
		{"r", "$devices/d1/commands/oven/on", "d1:$devices/d1/commands/oven/on d1:$me/device/commands/oven/on d1:kitchen/commands/oven/on d1:oven/on", false},
		{"r", "oven/on", "d1:$devices/d1/commands/oven/on d1:$me/device/commands/oven/on d1:kitchen/commands/oven/on d1:oven/on", false},
		{"r", "$devices/d3/config", "d3:$devices/d3/config d3:$me/device/config", true},
		{"r", "$registries/r/commands", "r/devices:$registries/r/commands r/devices:$me/registry/commands", false},
		{"r", "$registries/r/config/a", "r/devices:$registries/r/config/a r/devices:$me/registry/config/a", true},
		{"b", "factory/line", "b:factory/line", false},
		{"b", "kitchen/state", "b:kitchen/state", false},
	} {
		m, err := d.Publish(principal(t, d, tt.who), tt.topic)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := text(m); got != tt.names || m.Permanent != tt.permanent {
			t.Errorf("%s publishes to %s: got %s, permanent %v; want %s", tt.who, tt.topic, got, m.Permanent, tt.names)
		}
	}
	for _, tt := range [][3]string{
		{"d1", "$devices/d2/events", "its own topics only"},
		{"d1", "hall/events", "its own topics only"},
		{"d1", "$devices/d1/commands", "only the registry publishes to commands"},
		{"d1", "$me/device/config", "only the registry publishes to config"},
		{"d1", "$registries/other/events", `belongs to registry "r"`},
		{"d1", "$registries/r/commands", "only the registry"},
		{"d1", "$me/registry/events", "there is no such $me topic"},
		{"d1", "$monitoring/d1/json", "only the service"},
		{"d1", "$me/monitoring/json", "only the service"},
		{"d1", "free/topic", `begins with no alias of registry "r"`},
		{"d1", "kitchen/telemetry", "is none of"},
		{"d1", "kitchen/", "is none of"},
		{"d1", "$SYS/a", "is none of"},
		{"r", "$devices/d1/events", "only devices publish to events"},
		{"r", "$registries/r/state", "only devices publish to state"},
		{"r", "$devices/d4/commands", `has no device "d4"`},
		{"r", "$devices/nobody/commands", `has no device "nobody"`},
		{"r", "$registries/other/commands", `belongs to registry "r"`},
		{"r", "$me/device/commands", "only devices have $me topics"},
		{"b", "$devices/d1/events", "do not begin with $"},
		{"b", "a/+", "wildcard"},
	} {
		if _, err := d.Publish(principal(t, d, tt[0]), tt[1]); err == nil || !strings.Contains(err.Error(), tt[2]) {
			t.Errorf("%s publishes to %s: %v, want %q", tt[0], tt[1], err, tt[2])
		}
	}
}

func text(m Message) string {
	list := make([]string, len(m.Names))
	for i, n := range m.Names {
		list[i] = string(n.Audience) + ":" + n.Topic
	}
	return strings.Join(list, " ")
}

func TestSubscribe(t *testing.T) {
	d := directory(t, lab())
	for _, tt := range [][3]string{
		{"r", "$devices/#", "r:$devices/+/events/#"},
		{"r", "$devices/+/#", "r:$devices/+/#"},
		{"r", "$devices/d1/state", "r:$devices/d1/state"},
		{"r", "$registries/#", "r:$registries/#"},
		{"r", "$registries/r/events/+", "r:$registries/r/events/+"},
		{"r", "$monitoring/+/json", "r:$monitoring/+/json"},
		{"r", "#", "r:#"},
		{"r", "+/events", "r:+/events"},
		{"d1", "$devices/d1/commands/#", "d1:$devices/d1/commands/#"},
		{"d1", "$devices/+/config", "d1:$devices/+/config"},
		{"d1", "$me/device/commands", "d1:$me/device/commands"},
		{"d1", "$me/registry/#", "r/devices:$me/registry/#"},
		{"d1", "$me/monitoring/json", "d1:$me/monitoring/json"},
		{"d1", "$registries/#", "r/devices:$registries/+/commands/#"},
		{"d1", "$registries/r/config", "r/devices:$registries/r/config"},
		{"d1", "$monitoring/d2/json", "r/devices:$monitoring/d2/json"},
		{"d1", "kitchen/commands", "d1:kitchen/commands"},
		{"b", "#", "b:#"},
		{"b", "a/+/#", "b:a/+/#"},
	} {
		n, err := d.Subscribe(principal(t, d, tt[0]), tt[1])
		if got := string(n.Audience) + ":" + n.Topic; err != nil || got != tt[2] {
			t.Errorf("%s subscribes to %s: %s, %v; want %s", tt[0], tt[1], got, err, tt[2])
		}
	}
	for _, tt := range [][3]string{
		{"r", "$devices/+", "can match nothing"},
		{"r", "$devices/d1/commands", "a registry publishes to commands"},
		{"r", "$registries/+/config/#", "a registry publishes to config"},
		{"r", "$devices/d4/events", `has no device "d4"`},
		{"r", "$monitoring/d4/json", `has no device "d4"`},
		{"r", "$registries/other/events", `does not read the topics of registry "other"`},
		{"r", "$me/registry/commands", "only devices have $me topics"},
		{"r", "$SYS/#", "no topics begin with $SYS"},
		{"d1", "$devices/d1/events", "a device publishes to events"},
		{"d1", "$me/device/state/#", "a device publishes to state"},
		{"d1", "$devices/d2/commands", "its own topics only"},
		{"d1", "$registries/other/commands", `belongs to registry "r"`},
		{"d1", "$registries/r/events", "a device publishes to events"},
		{"d1", "$monitoring/d4/json", `has no device "d4"`},
		{"d1", "$me/#", "name what follows $me"},
		{"b", "$devices/#", "do not begin with $"},
	} {
		if n, err := d.Subscribe(principal(t, d, tt[0]), tt[1]); err == nil || !strings.Contains(err.Error(), tt[2]) {
			t.Errorf("%s subscribes to %s: %v, %v; want %q", tt[0], tt[1], n, err, tt[2])
		}
	}
}

func TestMonitoring(t *testing.T) {
	d := directory(t, lab())
	want := "r:$monitoring/d1/json r/devices:$monitoring/d1/json d1:$me/monitoring/json"
	if got := text(d.Monitoring(principal(t, d, "d1"))); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Who reads a message is who may, whatever its sender calls it and however its reader asks for it: the plain rules of the
// table of topics, in a loop over everybody, say the same as the trees.
func FuzzAccess(f *testing.F) {
	f.Add(0, 3, "$devices/d1/events", "$devices/+/events/#")
	f.Add(3, 0, "$devices/d1/commands", "$me/device/#")
	f.Add(3, 1, "$registries/r/config/a", "$registries/r/config/+")
	f.Add(0, 3, "kitchen/state/a", "#")
	f.Add(5, 5, "a/b", "a/+")
	d, err := New(lab())
	if err != nil {
		f.Fatal(err)
	}
	who := []string{"d1", "d2", "d3", "r", "d4", "b", "b2", "other"}
	f.Fuzz(func(t *testing.T, from, to int, topic, filter string) {
		if from < 0 || to < 0 {
			return
		}
		sender, _ := d.Principal(who[from%len(who)])
		reader, _ := d.Principal(who[to%len(who)])
		m, err := d.Publish(sender, topic)
		if err != nil {
			return
		}
		n, err := d.Subscribe(reader, filter)
		if err != nil {
			return
		}
		if !slices.Contains(reader.Audiences(), n.Audience) {
			t.Fatalf("%v subscribes to %q in the tree of %s", reader, filter, n.Audience)
		}
		for _, name := range m.Names {
			if name.Audience == n.Audience && iotcore.Match(n.Topic, name.Topic) && !mayRead(reader, sender, name.Topic) {
				t.Errorf("%v receives %q from %v by %q", reader, name.Topic, sender, filter)
			}
		}
	})
}

func mayRead(reader, sender Principal, topic string) bool {
	switch {
	case reader.Role == BrokerRole || sender.Role == BrokerRole:
		return reader.ID == sender.ID && topic[0] != '$'
	case reader.Registry != sender.Registry, reader.Role == sender.Role:
		return false
	}
	t := iotcore.ParseTopic(topic)
	return t.Kind != iotcore.DeviceTopic || reader.Role == RegistryRole || t.ID == reader.ID
}
