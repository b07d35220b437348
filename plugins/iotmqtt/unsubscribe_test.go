package iotmqtt_test

import (
	"slices"
	"testing"
)

// TestUnsubscribe: a session keeps its subscriptions, also when the next
// configuration has other topics, unless that says otherwise.
func TestUnsubscribe(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	const yaml = "broker_id: b\nclient_id: moving\nclean_session: false\n"
	t.Run("before", func(t *testing.T) {
		var got received
		run(t, port, yaml+"topics: [ old, both ]", got.add)
	})
	var got received
	logs := run(t, port, yaml+"topics: [ new, both ]\nunsubscribe: [ old, both ]", got.add)
	logs.waitFor(t, "Resumed")
	for _, topic := range []string{"old", "both", "new"} {
		publish(topic, 1, topic)
	}
	eventually(t, func() bool { return slices.Contains(got.payloads(), "new") })
	if p := got.payloads(); !slices.Equal(p, []string{"both", "new"}) {
		t.Errorf("received %v", p)
	}
}
