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
	d := newDirectory(t, registry.Config{Registries: []registry.Registry{
		{ID: "reg", Devices: []registry.Device{
			{ID: "dev1", Aliases: map[string]string{"kitchen/": "$devices/dev1/"}},
			{ID: "dev2", Aliases: map[string]string{"hall": "$devices/dev2/events"}},
		}},
		{ID: "other", Devices: []registry.Device{{ID: "dev3"}}},
	}})
	return knowingFrom(t, d, port, yaml, consume)
}

func newDirectory(t *testing.T, cfg registry.Config) *registry.Directory {
	t.Helper()
	d, err := registry.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// knowingFrom builds a stream in a process that has a directory.
func knowingFrom(
	t *testing.T, d *registry.Directory, port, yaml string, consume service.MessageBatchHandlerFunc,
) (s *service.Stream, logs *logBook) {
	t.Helper()
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

// A device of another registry is a mistake that would go unnoticed, and so is what is no device.
func TestForeignDevice(t *testing.T) {
	for device, want := range map[string]string{
		"dev3":  `device_id "dev3" is no device of registry "reg", but device "dev3" of registry "other"`,
		"other": `device_id "other" is no device of registry "reg", but registry "other"`,
	} {
		s, _ := knowing(t, "1", "registry_id: reg\ndevice_id: "+device, new(received).add)
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A registry or broker that the process does not have is a mistake where it has the user, and no affair of its own elsewhere.
func TestUnknownRegistry(t *testing.T) {
	t.Parallel()
	_, port := startBroker(t)
	d := newDirectory(t, registry.Config{
		Registries: []registry.Registry{{ID: "greenhouse", Devices: []registry.Device{{ID: "north"}}}, {ID: "attic"}},
		Brokers:    []registry.Broker{{ID: "workshop"}},
	})
	const noRegistry, noBroker = "no such registry in this process", "no such broker in this process"
	for yaml, want := range map[string]string{
		"registry_id: nosuch\nuser: greenhouse": " registries=[attic greenhouse]",
		"registry_id: north\nuser: north":       noRegistry, // a device
		"registry_id: nosuch\nuser: someone\nurls: [ tcp://greenhouse:secret@127.0.0.1:" + port + " ]": noRegistry,
		"broker_id: nosuch\nuser: workshop":        noBroker + " now",
		"registry_id: attic\nuser: greenhouse":     "",
		"broker_id: workshop\nuser: workshop":      "",
		"registry_id: elsewhere\nuser: someone":    "", // of another broker
		"registry_id: elsewhere":                   "",
		"broker_id: elsewhere\nuser: someone_else": "",
	} {
		if !strings.Contains(yaml, "urls:") {
			yaml += "\nurls: [ tcp://127.0.0.1:" + port + " ]"
		}
		s, logs := newStream(t, service.NewStreamBuilder(), yaml, new(received).add)
		s.Resources().SetGeneric(registry.Key, d)
		runStream(t, s)
		logs.waitFor(t, "Subscribed on the MQTT broker")
		if want != "" {
			logs.waitFor(t, want)
		}
		if n := logs.count(noRegistry) + logs.count(noBroker); n > 1 || n == 1 && want == "" {
			t.Errorf("%s: %d warnings, want %q", yaml, n, want)
		}
	}
}

// A device that is not there yet is followed when it is.
func TestDeviceMadeLater(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	d := newDirectory(t, registry.Config{Registries: []registry.Registry{{ID: "reg"}}})
	var got received
	s, logs := knowingFrom(t, d, port, "registry_id: reg\ndevice_id: dev1\ntopics: [ '$devices/dev1/events', 'attic/#', 'hall/#' ]", got.add)
	runStream(t, s)
	logs.waitFor(t, "has no such device now")
	logs.waitFor(t, "MQTT broker")
	for id, alias := range map[string]string{"dev1": "attic/", "dev2": "hall/"} {
		if err := d.PutDevice("reg", registry.Device{ID: id, Aliases: map[string]string{alias: "$devices/" + id + "/"}}); err != nil {
			t.Fatal(err)
		}
	}
	publish("hall/events", 1, "another's")
	publish("attic/events", 1, "mine")
	eventually(t, func() bool { return len(got.payloads()) > 0 })
	if p := got.payloads(); p[0] != "mine" {
		t.Errorf("got %q", p)
	}
}

// A registry may be made after the stream, and its devices and aliases change: the next message is of what there is then.
func TestRegistryMadeLater(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	d := newDirectory(t, registry.Config{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(d.PutRegistry(registry.Registry{ID: "other"}))
	must(d.PutDevice("other", registry.Device{ID: "dev3", Aliases: map[string]string{"kitchen/": "$devices/dev3/"}}))
	var got received
	s, logs := knowingFrom(t, d, port, "registry_id: reg\ntopics: [ '$devices/+/events', '#' ]", got.add)
	runStream(t, s)
	logs.waitFor(t, "MQTT broker")
	if logs.count("no such device") > 0 {
		t.Error("there is no device to miss")
	}
	// device is who a message to kitchen/events is said to be of, and whether one of dev3 comes before it.
	device := func() (id string, foreign bool) {
		t.Helper()
		got.mu.Lock()
		got.messages = nil
		got.mu.Unlock()
		publish("$devices/dev3/events", 1, "x")
		publish("kitchen/events", 1, "x")
		eventually(t, func() bool {
			got.mu.Lock()
			defer got.mu.Unlock()
			for _, m := range got.messages {
				if topic, _ := m.MetaGet("mqtt_topic"); topic == "kitchen/events" {
					id, _ = m.MetaGet("iot_device_id")
					return true
				}
				foreign = true
			}
			return false
		})
		return id, foreign
	}
	step := func(what, wantID string, wantForeign bool) {
		t.Helper()
		if id, foreign := device(); id != wantID || foreign != wantForeign {
			t.Errorf("%s: device %q, another registry's: %v", what, id, foreign)
		}
	}
	step("without the registry", "", true)
	must(d.PutRegistry(registry.Registry{ID: "reg"}))
	step("without the device", "", false)
	must(d.PutDevice("reg", registry.Device{ID: "dev1", Aliases: map[string]string{"kitchen/": "$devices/dev1/"}}))
	step("with it", "dev1", false)
	must(d.PutDevice("reg", registry.Device{ID: "dev1"}))
	must(d.PutDevice("reg", registry.Device{ID: "dev2", Aliases: map[string]string{"kitchen/": "$devices/dev2/"}}))
	step("with another", "dev2", false)
	d.Remove("dev2")
	step("without it", "", false)
	d.Remove("reg")
	step("without the registry again", "", true)
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
