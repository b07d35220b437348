package websocketbroadcast_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/tap"
)

// ways waits for so many, and returns them by payload.
func ways(t *testing.T, f *tap.Follower, n int) map[string]tap.Way {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	found := make(map[string]tap.Way)
	for len(found) < n {
		_, more, skipped, err := f.Next(ctx)
		if err != nil || skipped > 0 {
			t.Fatalf("%v, %d skipped, and only %v", err, skipped, found)
		}
		for _, w := range more {
			if found[string(w.Message.Payload)].Steps != nil {
				t.Fatalf("two ways of %+v", w.Message)
			}
			found[string(w.Message.Payload)] = w
		}
	}
	return found
}

func steps(w tap.Way) string {
	var names []string
	for _, s := range w.Steps {
		names = append(names, s.Step)
	}
	return strings.Join(names, " ")
}

// TestWay follows messages from the broker to a connection and back.
func TestWay(t *testing.T) {
	tr := startTrigger(t, fanout.Limits{QueueBytes: 1 << 20}, 1,
		`registry_id: reg, topics: [ "$devices/+/events" ], qos: 1, batching: { count: 2, period: 10s }`,
		`iot_trigger: { event_id: 'own-${! content() }' }`,
		`websocket_broadcast: { gateway: main, path: /telemetry }`)
	before := tr.tap
	if before.On() {
		t.Fatal("nobody follows")
	}
	tr.publish(t, "$devices/dev/events", []byte("unseen 1"))
	tr.publish(t, "$devices/dev/events", []byte("unseen 2"))
	tr.read(t)
	f := tr.tap.Follow(tap.Filter{DeviceIDs: []string{"dev"}})
	defer f.Close()
	tr.publish(t, "$devices/dev/events", []byte("one"))
	tr.publish(t, "$devices/other/events", []byte("two"))
	tr.read(t)
	w := ways(t, f, 1)["one"]
	if got, want := steps(w), "received batched encoded broadcast written acknowledged"; strings.Replace(got, "acknowledged written", "written acknowledged", 1) != want || !w.Done {
		t.Fatalf("%s, want %s: %+v", got, want, w)
	}
	m := w.Message
	if m.RegistryID != "reg" || m.DeviceID != "dev" || m.Topic != "$devices/dev/events" || m.Source != "device" || m.QoS != 1 || m.PayloadBytes != 3 || m.EventID == "" {
		t.Errorf("%+v", m)
	}
	for _, s := range w.Steps {
		switch s.Step {
		case tap.Batched, tap.Encoded:
			if s.Messages != 2 || s.Step == tap.Encoded && s.Bytes < 100 {
				t.Errorf("%+v", s)
			}
		case tap.Broadcast:
			if s.Gateway != "main" || s.Path != "/telemetry" || s.Connections != 1 {
				t.Errorf("%+v", s)
			}
		case tap.Written:
			if s.Connections != 1 || s.First == nil || s.Last == nil || s.First.Before(m.ReceivedAt) {
				t.Errorf("%+v", s)
			}
		}
	}
}

// TestWayOfWhatIsLost: what can never be sent is given up, and kept whether or not anybody follows.
func TestWayOfWhatIsLost(t *testing.T) {
	tr := startTrigger(t, fanout.Limits{QueueBytes: 1000}, 1,
		`broker_id: b, topics: [ "#" ], qos: 1, batching: { count: 1 }`,
		`iot_trigger: { event_type: '${! if content() == "bad" { throw("no type") } else { "x" } }' }`,
		`websocket_broadcast: { gateway: main, path: /telemetry }`)
	large := strings.Repeat("x", 2000)
	tr.publish(t, "t", []byte(large))
	tr.publish(t, "t", []byte("bad"))
	for deadline := time.Now().Add(10 * time.Second); len(tr.tap.Losses()) < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", tr.tap.Losses())
		}
	}
	reasons := map[string]string{"bad": "no type", large: "queue_bytes"}
	for _, lost := range tr.tap.Losses() { // in either order
		m, last := lost.Message, lost.Steps[len(lost.Steps)-1]
		reason := reasons[string(m.Payload)]
		if delete(reasons, string(m.Payload)); reason == "" || m.BrokerID != "b" || m.QoS != 1 || m.EventID == "" || last.Step != tap.GivenUp || !strings.Contains(last.Reason, reason) {
			t.Errorf("%+v", lost)
		}
	}
	f := tr.tap.Follow(tap.Filter{})
	defer f.Close()
	tr.publish(t, "t", []byte(large))
	tr.publish(t, "t", []byte("bad"))
	all := ways(t, f, 2)
	if got := steps(all[large]); got != "received batched encoded rejected given_up" {
		t.Error(got)
	}
	if got := steps(all["bad"]); got != "received batched failed given_up" {
		t.Error(got)
	}
}

// TestWayOfWhatIsTriedAgain: it is rejected as long as nobody is connected, and goes out when somebody is.
func TestWayOfWhatIsTriedAgain(t *testing.T) {
	tr := startTrigger(t, fanout.Limits{QueueBytes: 1 << 20}, 1,
		`broker_id: b, topics: [ "#" ], qos: 1, batching: { count: 1 }`, `iot_trigger: {}`,
		`websocket_broadcast: { gateway: main, path: /telemetry, no_connections: reject }`)
	route, err := tr.set.Route("main", "/telemetry")
	if err != nil {
		t.Fatal(err)
	}
	_ = tr.client.CloseNow()
	for deadline := time.Now().Add(10 * time.Second); route.Connections() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the connection does not end")
		}
	}
	f := tr.tap.Follow(tap.Filter{})
	defer f.Close()
	tr.publish(t, "t", []byte("one"))
	tr.waitLog(t, "no_connections is reject")
	tr.connect(t)
	tr.read(t)
	w := ways(t, f, 1)["one"]
	got := strings.ReplaceAll(steps(w), "acknowledged written", "written acknowledged")
	if !strings.HasPrefix(got, "received batched encoded rejected retried encoded") || !strings.HasSuffix(got, "retried encoded broadcast written acknowledged") {
		t.Error(got)
	}
	for _, s := range w.Steps {
		if (s.Step == tap.Rejected || s.Step == tap.Retried) && !strings.Contains(s.Reason, "no_connections is reject") {
			t.Errorf("%+v", s)
		}
	}
}

// TestWayThatFindsNoRoom: whoever follows is told of the message once, and that its way was left out.
func TestWayThatFindsNoRoom(t *testing.T) {
	tr := startTrigger(t, fanout.Limits{QueueBytes: 1 << 20}, 1,
		`broker_id: b, topics: [ "#" ], qos: 1, batching: { count: 1 }`, `iot_trigger: { event_id: 'own-${! content() }' }`,
		`websocket_broadcast: { gateway: main, path: /telemetry }`)
	all := tr.tap.Follow(tap.Filter{})
	defer all.Close()
	for i := range 4096 { // as many ways as there may be
		tr.tap.Enter(tap.Message{EventID: fmt.Sprint("entered ", i)})
	}
	f := tr.tap.Follow(tap.Filter{Topics: []string{"t"}})
	defer f.Close()
	tr.publish(t, "t", []byte("one"))
	tr.publish(t, "t", []byte("two"))
	tr.read(t)
	tr.read(t) // behind the broadcast of the first
	told, left := 0, 0
	for told < 2 || left < 2 {
		messages, more, skipped, err := f.Next(t.Context())
		if err != nil || len(more) > 0 {
			t.Fatalf("%v, %+v", err, more)
		}
		told, left = told+len(messages), left+skipped
	}
	if told != 2 || left != 2 {
		t.Errorf("told of %d messages, %d ways were left out, want 2 of both", told, left)
	}
}

// TestWayOfWhatIsLeftOut: what the broker sends and the input does not take.
func TestWayOfWhatIsLeftOut(t *testing.T) {
	tr := startTrigger(t, fanout.Limits{QueueBytes: 1 << 20}, 1,
		`registry_id: reg, device_id: dev, topics: [ "$devices/+/events" ], qos: 1, batching: { count: 1 }`, `iot_trigger: {}`,
		`websocket_broadcast: { gateway: main, path: /telemetry }`)
	f := tr.tap.Follow(tap.Filter{DeviceIDs: []string{"other"}})
	defer f.Close()
	tr.publish(t, "$devices/other/events", []byte("one"))
	w := ways(t, f, 1)["one"]
	if last := w.Steps[len(w.Steps)-1]; steps(w) != "received left_out" || !w.Done || last.Reason != "it is of another device" {
		t.Errorf("%+v", w)
	}
}

// TestRejectedBehindOtherInputs: what can never be sent is kept whichever input has it, and once, however often that tries again.
func TestRejectedBehindOtherInputs(t *testing.T) {
	produce, all := startOutput(t, fanout.Limits{QueueBytes: 1000})
	for range 3 {
		if err := produce(t.Context(), service.MessageBatch{service.NewMessage(make([]byte, 2000))}); err == nil {
			t.Fatal("it is accepted")
		}
	}
	lost := all.Losses()
	if len(lost) != 1 || steps(lost[0]) != "received rejected" || !strings.Contains(lost[0].Steps[1].Reason, "queue_bytes") || lost[0].Steps[1].Path != "/telemetry" {
		t.Errorf("%+v", lost)
	}
}

// TestWayThatBeginsWithABroadcast is that of an envelope which this process has not made, as on a gateway of a cluster.
func TestWayThatBeginsWithABroadcast(t *testing.T) {
	produce, all := startOutput(t, fanout.Limits{QueueBytes: 1 << 20})
	f := all.Follow(tap.Filter{Gateway: "main"})
	defer f.Close()
	text := `{"messages":[`
	for i, payload := range []string{`"payload":"` + base64.StdEncoding.EncodeToString([]byte("one")) + `"`, `"payload":{"a":1}`, `"payload_base64":"/w=="`} {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(`{"event_metadata":{"event_id":"id%d","created_at":"2026-01-02T03:04:05Z"},"details":{"registry_id":"r","device_id":"d","mqtt_topic":"t/%d",%s}}`, i, i, payload)
	}
	if err := produce(t.Context(), service.MessageBatch{service.NewMessage([]byte(text + "]}")), service.NewMessage([]byte("no envelope"))}); err != nil {
		t.Fatal(err)
	}
	found := ways(t, f, 4)
	for i, payload := range []string{"one", `{"a":1}`, "\xff"} {
		w := found[payload]
		if m := w.Message; steps(w) != "no_connections" || !w.Done || m.EventID != fmt.Sprint("id", i) || m.RegistryID != "r" || m.DeviceID != "d" || m.ReceivedAt.Year() != 2026 {
			t.Errorf("%q: %+v", payload, w)
		}
	}
	if got := steps(found["no envelope"]); got != "no_connections" {
		t.Error(got)
	}
}

// startOutput runs the output behind an input that is none of ours.
func startOutput(t *testing.T, limits fanout.Limits) (produce service.MessageBatchHandlerFunc, all *tap.Tap) {
	t.Helper()
	set := startGateway(t, limits)
	sb := service.NewStreamBuilder()
	produce, err := sb.AddBatchProducerFunc()
	if err == nil {
		err = sb.AddOutputYAML(`websocket_broadcast: { gateway: main, path: /telemetry }`)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := sb.Build()
	if err != nil {
		t.Fatal(err)
	}
	all = tap.New()
	s.Resources().SetGeneric(gateway.Key, set)
	s.Resources().SetGeneric(tap.Key, all)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		_ = s.StopWithin(5 * time.Second)
		<-ended
	})
	return produce, all
}
