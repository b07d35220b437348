package websocketbroadcast_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/devbroker"
	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/tap"
	_ "github.com/iotcast/iotcast/plugins/iotmqtt"
	_ "github.com/iotcast/iotcast/plugins/iottrigger"
)

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// trigger is a running stream, and what stands around it.
type trigger struct {
	set    *gateway.Set
	log    *journal
	tap    *tap.Tap
	client *websocket.Conn
	mqtt   mqtt.Client
}

// startTrigger runs a trigger of all topics of a broker in a stream of its own; input, processor and output are YAML.
func startTrigger(t *testing.T, limits fanout.Limits, threads int, input, processor, output string) *trigger {
	t.Helper()
	b, err := devbroker.Start(devbroker.Config{Address: "127.0.0.1:0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	set := startGateway(t, limits)
	sb, tr := service.NewStreamBuilder(), &trigger{set: set}
	tr.log = new(journal)
	sb.SetLogger(slog.New(slog.NewTextHandler(tr.log, nil)))
	sb.SetThreads(threads)
	url := "tcp://" + b.Addr().String()
	for _, err := range []error{
		sb.AddInputYAML(fmt.Sprintf("iot_mqtt: { urls: [ %q ], %s }", url, input)),
		sb.AddProcessorYAML(processor),
		sb.AddOutputYAML(output),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := sb.Build()
	if err != nil {
		t.Fatal(err)
	}
	s.Resources().SetGeneric(gateway.Key, set)
	tr.tap = tap.New()
	s.Resources().SetGeneric(tap.Key, tr.tap)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	tr.connect(t)
	tr.mqtt = mqtt.NewClient(mqtt.NewClientOptions().AddBroker(url).SetClientID("publisher"))
	if tok := tr.mqtt.Connect(); tok.Wait() && tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	t.Cleanup(func() { tr.mqtt.Disconnect(0) })
	tr.waitLog(t, "Subscribed")
	return tr
}

// connect opens the connection of the client.
func (tr *trigger) connect(t *testing.T) {
	t.Helper()
	_, port, _ := net.SplitHostPort(tr.set.All()[0].Addr().String())
	var err error
	if tr.client, _, err = websocket.Dial(t.Context(), "ws://127.0.0.1:"+port+"/telemetry", nil); err != nil {
		t.Fatal(err)
	}
	tr.client.SetReadLimit(-1)
	t.Cleanup(func() { _ = tr.client.CloseNow() })
}

func (tr *trigger) waitLog(t *testing.T, text string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(tr.log.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the log lacks %q: %s", text, tr.log)
		}
	}
}

func (tr *trigger) publish(t *testing.T, topic string, payload []byte) {
	t.Helper()
	if tok := tr.mqtt.Publish(topic, 1, false, payload); tok.Wait() && tok.Error() != nil {
		t.Fatal(tok.Error())
	}
}

// read returns the next envelope.
func (tr *trigger) read(t *testing.T) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, text, err := tr.client.Read(ctx)
	if err != nil {
		t.Fatalf("%v; log: %s", err, tr.log)
	}
	return text
}

// TestOutputThatBatches: an output that takes envelopes only with others holds none of them up. In several threads it costs
// their order, of which the log tells.
func TestOutputThatBatches(t *testing.T) {
	for _, threads := range []int{1, 2} {
		t.Run(fmt.Sprint(threads, " threads"), func(t *testing.T) {
			tr := startTrigger(t, fanout.Limits{QueueBytes: 1 << 20, MaxMessageBytes: 1 << 10}, threads, "broker_id: factory", "iot_trigger: {}", `
broker:
  outputs: [ websocket_broadcast: { gateway: main, path: /telemetry } ]
  batching: { count: 5 }
`)
			const envelopes = 20
			begun := time.Now()
			for range envelopes {
				tr.publish(t, "hall/press", []byte("x"))
			}
			for range envelopes {
				tr.read(t)
			}
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("%d envelopes took %v", envelopes, took)
			}
			const warning = "pipeline.threads"
			if got, want := strings.Contains(tr.log.String(), warning), threads > 1; got != want {
				t.Errorf("the log names %s: %v, want %v: %s", warning, got, want, tr.log)
			}
		})
	}
}

// TestBatchLargerThanTheQueue: however large a batch is, its envelopes are such that the gateway can send them.
func TestBatchLargerThanTheQueue(t *testing.T) {
	const (
		messages = 100
		queue    = 64 << 10
	)
	tr := startTrigger(t, fanout.Limits{QueueBytes: queue}, 2,
		fmt.Sprintf("broker_id: factory, batching: { count: %d, period: 1m }", messages), "iot_trigger: {}", "websocket_broadcast: { gateway: main, path: /telemetry }")
	want := make([][]byte, messages)
	for i := range want {
		want[i] = fmt.Appendf(nil, "%d %s", i, bytes.Repeat([]byte{'x'}, 2000))
		tr.publish(t, "hall/press", want[i])
	}
	for n := 0; n < messages; {
		text := tr.read(t)
		if len(text) > queue {
			t.Errorf("an envelope of %d bytes: more than may wait for a connection", len(text))
		}
		var envelope struct {
			Messages []struct{ Details struct{ Payload []byte } }
		}
		if err := json.Unmarshal(text, &envelope); err != nil {
			t.Fatal(err)
		}
		for _, m := range envelope.Messages {
			if !bytes.Equal(m.Details.Payload, want[n]) {
				t.Fatalf("message %d is %.20q…", n, m.Details.Payload)
			}
			n++
		}
	}
}
