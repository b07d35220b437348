package iotmqtt_test

import (
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/registry"
)

// knowing builds a stream in a process that has registries.
func knowing(t *testing.T, port, yaml string, consume service.MessageBatchHandlerFunc) (s *service.Stream, logs *logBook) {
	t.Helper()
	d, err := registry.New(registry.Config{Registries: []registry.Registry{
		{ID: "reg", Devices: []registry.Device{
			{ID: "dev1", Aliases: map[string]string{"kitchen/": "$devices/dev1/"}},
			{ID: "dev2", Aliases: map[string]string{"hall": "$devices/dev2/events"}},
		}},
		{ID: "other", Devices: []registry.Device{{ID: "dev3"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s, logs = newStream(t, service.NewStreamBuilder(), "urls: [ \"tcp://127.0.0.1:"+port+"\" ]\n"+yaml, consume)
	s.Resources().SetGeneric(registry.Key, d)
	return s, logs
}

func runKnowing(t *testing.T, port, yaml string, consume service.MessageBatchHandlerFunc) {
	t.Helper()
	s, logs := knowing(t, port, yaml, consume)
	runStream(t, s)
	logs.waitFor(t, "MQTT broker")
}

// A device of another registry is a mistake that would go unnoticed.
func TestUnknownDevice(t *testing.T) {
	s, _ := knowing(t, "1", "registry_id: reg\ndevice_id: dev3", new(received).add)
	err := s.Run(t.Context())
	want := `device_id "dev3" is none of registry "reg", whose devices are ["dev1" "dev2"]`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// With a registry, an alias topic names its device, and devices of other registries are left out.
func TestRegistry(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var got received
	runKnowing(t, port, "registry_id: reg\ntopics: [ '$devices/+/#', '$registries/+/#', '#' ]", got.add)
	topics := []struct {
		topic, device string
		left          bool
	}{
		{"kitchen/events/a", "dev1", false},
		{"kitchen/commands", "", false}, // the registry sent it
		{"hall", "dev2", false},
		{"halls", "", false}, // no alias
		{"$devices/dev2/state", "dev2", false},
		{"$devices/unheard/state", "unheard", false},
		{"$registries/reg/events", "", false},
		{"$devices/dev3/events", "", true}, // another registry's
		{"hall/last", "dev2", false},
	}
	want := map[string]string{}
	for _, m := range topics {
		publish(m.topic, 1, "x")
		if !m.left {
			want[m.topic] = m.device
		}
	}
	eventually(t, func() bool { return len(got.payloads()) >= len(want) })
	for _, m := range got.messages {
		topic, _ := m.MetaGet("mqtt_topic")
		id, _ := m.MetaGet("iot_device_id")
		if device, ok := want[topic]; !ok || id != device {
			t.Errorf("%s: device %q, want %q (%v)", topic, id, device, ok)
		}
	}
}

// An alias of another device is left out of a trigger on a device.
func TestRegistryAndDevice(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var got received
	runKnowing(t, port, "registry_id: reg\ndevice_id: dev1\ntopics: [ '#' ]", got.add)
	publish("hall", 1, "not mine")
	publish("kitchen/events", 1, "mine")
	eventually(t, func() bool { return len(got.payloads()) > 0 })
	if p := got.payloads(); p[0] != "mine" {
		t.Errorf("got %q", p)
	}
}
