package iotmqtt_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/redpanda-data/benthos/v4/public/service"
	"go.uber.org/goleak"

	"github.com/iotcast/iotcast/internal/devbroker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// protocol is the version of MQTT that the tests use.
var protocol = cmp.Or(os.Getenv(protocolVariable), "3.1.1")

const protocolVariable = "IOT_MQTT_TEST_PROTOCOL"

// TestMQTT5 runs all other tests once more, over MQTT 5.
func TestMQTT5(t *testing.T) {
	if protocol == "5" {
		t.Skip("this is it")
	}
	t.Parallel()
	again := exec.Command(os.Args[0], os.Args[1:]...)
	again.Env = append(os.Environ(), protocolVariable+"=5")
	if out, err := again.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// run starts a stream of an iot_mqtt input with the given YAML that hands its
// batches to consume, and waits until it has subscribed.
func run(t *testing.T, port, yaml string, consume service.MessageBatchHandlerFunc) (logs *logBook) {
	t.Helper()
	return runAt(t, "tcp://127.0.0.1:"+port, yaml, consume)
}

func runAt(t *testing.T, url, yaml string, consume service.MessageBatchHandlerFunc) (logs *logBook) {
	t.Helper()
	logs = build(t, "urls: [ \""+url+"\" ]\n"+yaml, consume)
	logs.waitFor(t, "MQTT broker")
	return logs
}

func indent(yaml string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(yaml), "\n", "\n  ")
}

func publisher(t *testing.T, port string) func(topic string, qos byte, payload any) {
	t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://127.0.0.1:" + port).SetClientID("publisher-" + t.Name()))
	if tok := c.Connect(); tok.Wait() && tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	return func(topic string, qos byte, payload any) {
		if tok := c.Publish(topic, qos, false, payload); tok.Wait() && tok.Error() != nil {
			t.Error(tok.Error())
		}
	}
}

// received collects batches.
type received struct {
	mu       sync.Mutex
	messages []*service.Message
	sizes    []int
}

func (r *received) add(_ context.Context, b service.MessageBatch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, b.Copy()...)
	r.sizes = append(r.sizes, len(b))
	return nil
}

func (r *received) payloads() (p []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.messages {
		b, _ := m.AsBytes()
		p = append(p, string(b))
	}
	return p
}

func TestMetadataOfBothSources(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	for name, tc := range map[string]struct {
		yaml, topic string
		want        map[string]string
	}{
		"device": {
			"registry_id: reg", "$devices/dev1/events/deep",
			map[string]string{"iot_source": "device", "iot_registry_id": "reg", "iot_device_id": "dev1", "mqtt_topic": "$devices/dev1/events/deep", "mqtt_qos": "1", "mqtt_retained": "false", "mqtt_duplicate": "false"},
		},
		"registry topic": {
			"registry_id: reg", "$registries/reg/events",
			map[string]string{"iot_source": "device", "iot_registry_id": "reg", "iot_device_id": "", "mqtt_topic": "$registries/reg/events"},
		},
		"alias": {
			"registry_id: reg\ndevice_id: dev1\ntopics: [ my/alias ]", "my/alias",
			map[string]string{"iot_device_id": "dev1", "mqtt_topic": "my/alias"},
		},
		"broker": {
			"broker_id: brk", "factory/one",
			map[string]string{"iot_source": "broker", "iot_broker_id": "brk", "mqtt_topic": "factory/one"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got received
			run(t, port, tc.yaml, got.add)
			publish(tc.topic, 1, "payload")
			eventually(t, func() bool { return len(got.payloads()) == 1 })
			m := got.messages[0]
			for k, want := range tc.want {
				if v, ok := m.MetaGet(k); !ok || v != want {
					t.Errorf("%s = %q (%v), want %q", k, v, ok, want)
				}
			}
			at, _ := m.MetaGet("iot_received_at")
			when, err := time.Parse(time.RFC3339Nano, at)
			if err != nil || time.Since(when) > time.Minute || !strings.HasSuffix(at, "Z") {
				t.Errorf("iot_received_at %q: %v", at, err)
			}
			if id, _ := m.MetaGet("iot_event_id"); len(id) != 36 {
				t.Errorf("iot_event_id %q", id)
			}
		})
	}
}

func TestOtherDevicesAreLeftOut(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var got received
	run(t, port, "registry_id: reg\ndevice_id: mine\ntopics: [ $devices/+/events ]", got.add)
	publish("$devices/other/events", 1, "no")
	publish("$devices/mine/events", 1, "yes")
	eventually(t, func() bool { return len(got.payloads()) > 0 })
	if p := got.payloads(); len(p) != 1 || p[0] != "yes" {
		t.Fatal(p)
	}
}

func TestBatchesAreFullOrDue(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var got received
	run(t, port, "broker_id: b\nbatching: { count: 4, period: 200ms }", got.add)
	for i := range 10 {
		publish("t", 1, strconv.Itoa(i))
	}
	eventually(t, func() bool { return len(got.payloads()) == 10 })
	if s := fmt.Sprint(got.sizes); s != "[4 4 2]" {
		t.Fatal(s)
	}
}

// TestAcknowledgedOnlyWhenAccepted: what the output has not accepted comes again
// after a crash, which here is a stream that is stopped while its output hangs.
func TestAcknowledgedOnlyWhenAccepted(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	const yaml = "broker_id: b\nclient_id: crash\nclean_session: false"
	t.Run("hangs", func(t *testing.T) {
		var seen atomic.Int64
		hang := make(chan struct{})
		run(t, port, yaml, func(context.Context, service.MessageBatch) error {
			if seen.Add(1) > 3 {
				<-hang
				return errors.New("never accepted")
			}
			return nil
		})
		t.Cleanup(func() { close(hang) })
		for i := range 10 {
			publish("t", 1, strconv.Itoa(i))
		}
		eventually(t, func() bool { return seen.Load() > 3 })
	})
	var got received
	logs := run(t, port, yaml, got.add)
	logs.waitFor(t, "Resumed")
	eventually(t, func() bool { return len(got.payloads()) >= 7 })
	if p := strings.Join(got.payloads(), ""); p != "3456789" {
		t.Fatalf("came again: %s", p)
	}
}

// TestRejectedBatchIsReplayedWhole: although only one message is said to have
// failed, all come again, with the event IDs that they had.
func TestRejectedBatchIsReplayedWhole(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var got received
	first := map[string]string{}
	run(t, port, "broker_id: b\nbatching: { count: 3, period: 10s }", func(ctx context.Context, b service.MessageBatch) error {
		if len(first) == 0 {
			for _, m := range b {
				p, _ := m.AsBytes()
				first[string(p)], _ = m.MetaGet("iot_event_id")
			}
			err := service.NewBatchError(b, errors.New("refused"))
			return err.Failed(1, errors.New("refused"))
		}
		return got.add(ctx, b)
	})
	for i := range 3 {
		publish("t", 1, strconv.Itoa(i))
	}
	eventually(t, func() bool { return len(got.payloads()) == 3 })
	for _, m := range got.messages {
		p, _ := m.AsBytes()
		if id, _ := m.MetaGet("iot_event_id"); id != first[string(p)] {
			t.Errorf("message %s: event ID %s, was %s", p, id, first[string(p)])
		}
	}
}

// TestStrictOrder: a batch that is rejected is not overtaken by those behind it.
func TestStrictOrder(t *testing.T) {
	t.Parallel()
	_, port := startBroker(t)
	publish := publisher(t, port)
	const messages = 50
	var got received
	tries := 0
	run(t, port, "broker_id: b\nstrict_order: true\nbatching: { count: 3, period: 10ms }", func(ctx context.Context, b service.MessageBatch) error {
		if tries++; tries%2 == 1 {
			return errors.New("refused")
		}
		return got.add(ctx, b)
	})
	for i := range messages {
		publish("t", 1, fmt.Sprintf("%02d", i))
	}
	eventually(t, func() bool { return len(got.payloads()) == messages })
	if p := got.payloads(); !slices.IsSorted(p) {
		t.Errorf("out of order: %v", p)
	}
}

func TestWithoutReplayRejectedMessagesAreGivenUp(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var got received
	logs := run(t, port, "broker_id: b\nauto_replay_nacks: false", func(ctx context.Context, b service.MessageBatch) error {
		if p, _ := b[0].AsBytes(); string(p) == "bad" {
			return errors.New("refused")
		}
		return got.add(ctx, b)
	})
	publish("t", 1, "bad")
	publish("t", 1, "good")
	eventually(t, func() bool { return len(got.payloads()) == 1 })
	logs.waitFor(t, "given up")
}

func TestMaxUnackedMakesTheBrokerWait(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var got received
	hold := make(chan struct{})
	run(t, port, "broker_id: b\nmax_unacked: 10\nclient_id: small\nclean_session: false", func(ctx context.Context, b service.MessageBatch) error {
		<-hold
		return got.add(ctx, b)
	})
	for i := range 500 {
		publish("t", 1, strconv.Itoa(i))
	}
	close(hold)
	eventually(t, func() bool { return len(got.payloads()) == 500 })
	for i, p := range got.payloads() {
		if p != strconv.Itoa(i) {
			t.Fatalf("message %d is %s", i, p)
		}
	}
}

// TestFullSessionEndsAtOnce: a session that waits for room does not hold up the
// end of its stream until the keep-alive is over.
func TestFullSessionEndsAtOnce(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	began := time.Now()
	t.Run("stream", func(t *testing.T) {
		hang := make(chan struct{})
		var once sync.Once
		hanging := make(chan struct{})
		run(t, port, "broker_id: b\nmax_unacked: 2\nkeepalive: 600s", func(context.Context, service.MessageBatch) error {
			once.Do(func() { close(hanging) })
			<-hang
			return nil
		})
		t.Cleanup(func() { close(hang) })
		for i := range 20 {
			publish("t", 0, strconv.Itoa(i))
		}
		<-hanging
	})
	if took := time.Since(began); took > 60*time.Second { // half the keep-alive is 300
		t.Errorf("the stream took %v to end", took)
	}
}

func TestReconnectsAndReportsALostSession(t *testing.T) {
	broker, port := startBroker(t)
	var got received
	logs := run(t, port, "broker_id: b\nclient_id: again\nclean_session: false", got.add)
	if err := broker.Close(); err != nil {
		t.Fatal(err)
	}
	logs.waitFor(t, "Connection to the MQTT broker lost")
	logs.waitFor(t, "Failed to connect")
	again, err := devbroker.Start(devbroker.Config{Address: "127.0.0.1:" + port}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Close() })
	logs.waitFor(t, "has lost the session")
	publisher(t, port)("t", 1, "after")
	eventually(t, func() bool { return len(got.payloads()) == 1 })
}

func TestBadConfiguration(t *testing.T) {
	for _, tc := range []struct{ yaml, want string }{
		{"{}", "registry_id or broker_id is needed"},
		{"{urls: [], broker_id: b}", "urls"},
		{"{urls: [tcp://x], registry_id: a, broker_id: b}", "registry_id and broker_id are both set"},
		{"{urls: [tcp://x]}", "registry_id or broker_id is needed"},
		{"{urls: [tcp://x], device_id: d}", "device_id needs registry_id"},
		{"{urls: [tcp://x], broker_id: b, qos: 3}", "qos must be 0, 1 or 2"},
		{"{urls: [tcp://x], broker_id: b, clean_session: false}", "clean_session: false needs a client_id"},
		{"{urls: [tcp://x], broker_id: b, max_unacked: 0}", "max_unacked"},
		{"{urls: [tcp://x], broker_id: b, batching: {count: 0, period: ''}}", "batching"},
		{"{urls: [tcp://x], registry_id: a, topics: ['$monitoring/d/json']}", "monitoring"},
		{"{urls: [tcp://x], registry_id: a, topics: ['a/#/b']}", "# must be the last level"},
		{"{urls: [tcp://x], registry_id: a, topics: ['$devices/+']}", "can match nothing, since a topic under $devices has at least three levels"},
		{"{urls: [tcp://x], registry_id: a, topics: [ok, '$devices/d/telemetry']}", "comes events, state, commands or config"},
		{"{urls: [tcp://x], registry_id: a, topics: ['$SYS/#']}", "no topics begin with $SYS"},
		{"{urls: [tcp://x], broker_id: b, topics: ['$devices/d/events']}", "broker topics do not begin with $"},
		{"{urls: [tcp://x], broker_id: b, topics: [ok, '$SYS/#']}", "can match nothing"},
		{"{urls: [tcp://x], registry_id: a, topics: ['a+']}", "+ must stand alone"},
		{"{urls: [tcp://x], registry_id: a, topics: ['']}", "is empty"},
		{"{urls: [tcp://x], broker_id: a, keepalive: 1500ms}", "keepalive must be at least 2s, not 1.5s"},
		{"{urls: [tcp://x], broker_id: a, connect_timeout: 0s}", "connect_timeout must be positive"},
		{"{urls: ['tcp://x, http://y'], broker_id: a}", "not the URL of an MQTT broker"},
	} {
		b := service.NewStreamBuilder()
		err := b.AddInputYAML("iot_mqtt: " + tc.yaml)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: lint says %v, want %q", tc.yaml, err, tc.want)
		}
		// The constructor must find the same with lints switched off.
		b = service.NewStreamBuilder()
		b.DisableLinting()
		b.SetLogger(slog.New(slog.DiscardHandler))
		if err = b.AddInputYAML("iot_mqtt: " + tc.yaml); err == nil {
			_ = b.AddOutputYAML("drop: {}")
			if s, berr := b.Build(); berr != nil {
				err = berr
			} else {
				err = s.Run(t.Context())
			}
		}
		if err == nil {
			t.Errorf("%s: was accepted", tc.yaml)
		}
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}
