package devbroker

import (
	"errors"
	"path/filepath"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/iotcast/iotcast/internal/registry"
)

func TestPublishForSomebody(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broker.db")
	b, d := changeable(t, Config{File: file})
	_, r := subscriber(t, b, "r", "in", "$devices/+/#", "kitchen/#", "$registries/#")
	_, d1 := subscriber(t, b, "d1", "in", "$me/device/#", "kitchen/#", "$me/registry/commands")
	_, br := subscriber(t, b, "b", "in", "#")
	for _, m := range [][3]string{
		{"d1", "kitchen/events", "1"},
		{"d1", "$me/device/state", "2"},
		{"d2", "$registries/r/events", "last"},
		{"r", "$devices/d1/commands", "1"},
		{"r", "kitchen/config", "2"},
		{"r", "$registries/r/commands", "last"},
		{"b", "a/b", "last"},
	} {
		must(t, b.Publish(m[0], m[1], []byte(m[2])))
	}
	if got := r.take(t, "last"); got != "$devices/d1/events 1, kitchen/events 1, $devices/d1/state 2, kitchen/state 2" {
		t.Errorf("the registry got %q", got)
	}
	if got := d1.take(t, "last"); got != "$me/device/commands 1, kitchen/commands 1, $me/device/config 2, kitchen/config 2" {
		t.Errorf("the device got %q", got)
	}
	if got := br.take(t, "last"); got != "" {
		t.Errorf("the broker got %q", got)
	}
	if _, later := subscriber(t, b, "r", "later", "kitchen/state"); later.take(t, "kitchen/state 2 (kept)") != "" {
		t.Error("something else is kept")
	}

	must(t, d.PutBroker(registry.Broker{ID: "b2", Disabled: true}))
	for name, c := range map[string]struct {
		who, topic string
		payload    []byte
		want       error
	}{
		"unknown":       {"nobody", "a", nil, registry.ErrNotFound},
		"disabled":      {"b2", "a", nil, registry.ErrForbidden},
		"another's":     {"d1", "$devices/d2/events", nil, registry.ErrForbidden},
		"a reader's":    {"r", "$devices/d1/events", nil, registry.ErrForbidden},
		"no topic":      {"d1", "$devices/d1/x", nil, registry.ErrInvalid},
		"no alias":      {"d1", "attic/events", nil, registry.ErrInvalid},
		"a wildcard":    {"b", "a/#", nil, registry.ErrInvalid},
		"empty":         {"b", "", nil, registry.ErrInvalid},
		"a long one":    {"b", "a", make([]byte, maxPacketBytes), registry.ErrInvalid},
		"a broker's $":  {"b", "$devices/d1/events", nil, registry.ErrInvalid},
		"no such alias": {"r", "attic/commands", nil, registry.ErrInvalid},
	} {
		if err := b.Publish(c.who, c.topic, c.payload); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := startBroker(t, Config{}, nil).Publish("d1", "a", nil); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("without registries: %v", err)
	}
	nothingDropped(t, b)
}

// What is published for somebody is on disk when Publish returns.
func TestPublishIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	b, _ := changeable(t, Config{File: filepath.Join(dir, "broker.db")})
	sub := paho.NewClient(as(b, "r", "sub").SetCleanSession(false))
	wait(t, sub.Connect())
	subscribe(t, sub, "$devices/#", nil)
	sub.Disconnect(250)
	must(t, b.Publish("d1", "$devices/d1/events", []byte("1")))
	must(t, b.Publish("d1", "$devices/d1/state", []byte("2")))
	crashed := copyFile(t, filepath.Join(dir, "broker.db"), filepath.Join(dir, "crashed.db"))
	b2, _ := changeable(t, Config{File: crashed})
	if cl, ok := b2.server.Clients.Get("r/sub"); !ok || cl.State.Inflight.Len() != 1 {
		t.Error("the message is lost")
	}
	if got := keptOf(b2, "r"); got != "r/$/$devices/d1/state=2 r/_/kitchen/state=2" {
		t.Errorf("kept: %s", got)
	}
	closeBroker(t, b)
	if err := b.Publish("d1", "$devices/d1/events", nil); err == nil {
		t.Error("a closed broker has published")
	}
}
