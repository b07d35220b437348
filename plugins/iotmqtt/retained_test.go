package iotmqtt_test

import (
	"slices"
	"sync"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/plugins/iotmqtt"
)

func retain(t *testing.T, port, topic, payload string) {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://127.0.0.1:" + port).SetClientID("retainer"))
	if tok := c.Connect(); tok.Wait() && tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	defer c.Disconnect(100)
	if tok := c.Publish(topic, 1, true, payload); tok.Wait() && tok.Error() != nil {
		t.Fatal(tok.Error())
	}
}

// TestRetainedOnce: a retained message comes when it is new to a persistent session,
// and not once more with each update, restart and reconnection.
func TestRetainedOnce(t *testing.T) {
	_, port := startBroker(t)
	n := newNetwork(t, port)
	const yaml = "broker_id: b\nclient_id: c\nclean_session: false\ntopics: "
	retain(t, port, "old", "first")
	retain(t, port, "new", "of the new topic")
	stream := func(name, topics string, want ...string) {
		t.Run(name, func(t *testing.T) {
			var got received
			run(t, port, yaml+topics, got.add) // not by n, which cuts off the last acknowledgement
			publisher(t, port)("old", 1, "live")
			eventually(t, func() bool { return len(got.payloads()) >= len(want) && slices.Contains(got.payloads(), "live") })
			twice := func(m *service.Message) bool { again, _ := m.MetaGet("mqtt_duplicate"); return again == "true" }
			if slices.ContainsFunc(got.messages, twice) {
				return // the broker had not read an acknowledgement when the stream before this one ended
			}
			if p := got.payloads(); !slices.Equal(slices.Sorted(slices.Values(p)), slices.Sorted(slices.Values(want))) {
				t.Errorf("received %q, want %q", p, want)
			}
		})
	}
	stream("new session", "[ old ]", "first", "live")
	stream("update", "[ old ]", "live")
	retain(t, port, "old", "while away")
	stream("changed while away", "[ old ]", "while away", "live")
	iotmqtt.Restart()
	stream("restart", "[ old ]", "live")
	stream("another topic", "[ old, new ]", "of the new topic", "live")
	stream("covered by another", "[ '#' ]", "live")
	t.Run("reconnection", func(t *testing.T) {
		var got received
		logs := run(t, n.port, yaml+"[ old ]", got.add)
		retain(t, port, "old", "live and retained")
		eventually(t, func() bool { return slices.Contains(got.payloads(), "live and retained") })
		n.cut()
		eventually(t, func() bool { return logs.count("Resumed") == 2 })
		publisher(t, port)("old", 1, "end")
		eventually(t, func() bool { return slices.Contains(got.payloads(), "end") })
		// As a message that was not acknowledged it may come twice.
		for _, m := range got.messages {
			retained, _ := m.MetaGet("mqtt_retained")
			if duplicate, _ := m.MetaGet("mqtt_duplicate"); retained != "false" && duplicate != "true" {
				t.Errorf("received %q", got.payloads())
			}
		}
		logs.waitFor(t, "retained messages once more")
	})
}

// TestRetainedOfACleanSession: it is a new one with each connection.
func TestRetainedOfACleanSession(t *testing.T) {
	_, port := startBroker(t)
	retain(t, port, "t", "kept")
	for range 2 {
		t.Run("stream", func(t *testing.T) {
			var got received
			run(t, port, "broker_id: b\nclient_id: c", got.add)
			eventually(t, func() bool { return len(got.payloads()) == 1 })
		})
	}
}

// TestForeignTopics: what no filter covers does not pass, though the session is still
// subscribed to it.
func TestForeignTopics(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	const yaml = "broker_id: b\nclient_id: c\nclean_session: false\ntopics: "
	t.Run("before", func(t *testing.T) { run(t, port, yaml+"[ old ]", new(received).add) })
	var got received
	logs := run(t, port, yaml+"[ new/# ]", got.add)
	publish("old", 1, "no")
	publish("new", 1, "yes")
	eventually(t, func() bool { return len(got.payloads()) > 0 })
	if p := got.payloads(); !slices.Equal(p, []string{"yes"}) {
		t.Errorf("received %q", p)
	}
	logs.waitFor(t, "no topic filter covers")
}

func TestNeededFilters(t *testing.T) {
	for _, tc := range []struct{ all, needed, covered []string }{
		{[]string{"a", "b"}, []string{"a", "b"}, nil},
		{[]string{"a", "a"}, []string{"a"}, nil},
		{[]string{"a/b", "a/+", "a/#", "b"}, []string{"a/#", "b"}, []string{"a/b", "a/+"}},
		{[]string{"#", "$devices/+/events"}, []string{"#", "$devices/+/events"}, nil},
		{[]string{"$devices/#", "$devices/d/state"}, []string{"$devices/#", "$devices/d/state"}, nil}, // of a registry: events alone
		{[]string{"$devices/#", "$devices/d/events/a"}, []string{"$devices/#"}, []string{"$devices/d/events/a"}},
		{[]string{"#", "$share/g/a"}, []string{"#", "$share/g/a"}, nil},
	} {
		needed, covered := iotmqtt.Needed(tc.all)
		if !slices.Equal(needed, tc.needed) || !slices.Equal(covered, tc.covered) {
			t.Errorf("%q: needed %q, covered %q", tc.all, needed, covered)
		}
	}
}

// TestManyFilters: a broker that takes at most eight in a packet, as AWS IoT does, gets
// no more, to subscribe or to unsubscribe.
func TestManyFilters(t *testing.T) {
	var mu sync.Mutex
	var subscribed, unsubscribed []string
	note := func(all *[]string) func([]string) bool {
		return func(filters []string) bool {
			mu.Lock()
			defer mu.Unlock()
			*all = append(*all, filters...)
			return len(filters) <= 8
		}
	}
	broker := fakeBroker{resumed: true, subscribed: note(&subscribed), unsubscribed: note(&unsubscribed)}
	addr, _ := hanging(t, broker.serve)
	const topics, old = "[ a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q ]", "[ A, B, C, D, E, F, G, H, I ]"
	logs := runAt(t, "tcp://"+addr, "broker_id: b\nclient_id: many\nclean_session: false\ntopics: "+topics+"\nunsubscribe: "+old, new(received).add)
	logs.waitFor(t, "Resumed")
	mu.Lock()
	defer mu.Unlock()
	if len(subscribed) != 17 || len(unsubscribed) != 9 {
		t.Errorf("subscribed to %q, unsubscribed from %q", subscribed, unsubscribed)
	}
}
