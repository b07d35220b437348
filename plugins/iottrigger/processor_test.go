package iottrigger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
)

const receivedAt = "2019-09-25T15:51:17.872320525Z"

func build(t testing.TB, conf string) *processor {
	t.Helper()
	parsed, err := Spec().ParseYAML(conf, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcessor(parsed, service.MockResources())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func process(t *testing.T, conf string, batch ...*service.Message) service.MessageBatch {
	t.Helper()
	batches, err := build(t, conf).ProcessBatch(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	if len(batches) != 1 {
		t.Fatalf("%d batches, want 1", len(batches))
	}
	return batches[0]
}

// message is a message as the input iot_mqtt makes it; further metadata in pairs, an empty value removes a key.
func message(payload string, meta ...string) *service.Message {
	m := service.NewMessage([]byte(payload))
	pairs := append([]string{
		metakey.Source, sourceDevice, metakey.RegistryID, "r", metakey.Topic, "$devices/d/events",
		metakey.EventID, "id-" + payload, metakey.ReceivedAt, receivedAt,
	}, meta...)
	for pair := range slices.Chunk(pairs, 2) {
		m.MetaSet(pair[0], pair[1])
	}
	return m
}

func brokerMessage(payload string) *service.Message {
	return message(payload, metakey.Source, sourceBroker, metakey.BrokerID, "b", metakey.Topic, "kitchen")
}

func content(t *testing.T, m *service.Message) string {
	t.Helper()
	b, err := m.AsBytes()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// outline tells what is in a batch: the payloads of each envelope, and an exclamation mark for each failed message.
func outline(t *testing.T, batch service.MessageBatch) string {
	t.Helper()
	var parts []string
	for _, m := range batch {
		if m.GetError() != nil {
			parts = append(parts, content(t, m)+"!")
			continue
		}
		payloads := make([]string, 0, 4)
		for _, e := range decode(t, m) {
			payloads = append(payloads, string(e.Details.Payload))
		}
		parts = append(parts, "["+strings.Join(payloads, " ")+"]")
	}
	return strings.Join(parts, " ")
}

type entry struct {
	Metadata struct {
		EventID   string    `json:"event_id"`
		EventType string    `json:"event_type"`
		CreatedAt time.Time `json:"created_at"`
	} `json:"event_metadata"`
	Details struct {
		RegistryID string `json:"registry_id"`
		DeviceID   string `json:"device_id"`
		BrokerID   string `json:"broker_id"`
		Topic      string `json:"mqtt_topic"`
		Payload    []byte `json:"payload"`
	} `json:"details"`
}

func decode(t *testing.T, m *service.Message) []entry {
	t.Helper()
	var doc struct {
		Messages []entry `json:"messages"`
	}
	if err := json.Unmarshal([]byte(content(t, m)), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Messages
}

func TestFormats(t *testing.T) {
	const head = `{"messages":[{"event_metadata":{"event_id":"id-x","event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"` + receivedAt + `"},"details":{`
	for name, tt := range map[string]struct {
		msg  *service.Message
		want string
	}{
		"device": {message("x"), `"registry_id":"r","device_id":"d","mqtt_topic":"$devices/d/events","payload":"eA=="}}]}`},
		"broker": {brokerMessage("x"), `"broker_id":"b","mqtt_topic":"kitchen","payload":"eA=="}}]}`},
		"broker by ID alone": {
			message("x", metakey.Source, "", metakey.BrokerID, "b", metakey.Topic, "kitchen"),
			`"broker_id":"b","mqtt_topic":"kitchen","payload":"eA=="}}]}`,
		},
		"device by no hint": {message("x", metakey.Source, ""), `"registry_id":"r","device_id":"d","mqtt_topic":"$devices/d/events","payload":"eA=="}}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			out := process(t, "{}", tt.msg)
			if len(out) != 1 {
				t.Fatalf("%d messages, want 1", len(out))
			}
			if got := content(t, out[0]); got != head+tt.want {
				t.Errorf("envelope\n%s\nwant\n%s", got, head+tt.want)
			}
		})
	}
}

func TestBatches(t *testing.T) {
	failed := message("failed")
	failed.SetError(errors.New("before"))
	large := message(strings.Repeat("L", 1000))
	badTime := message("bad", metakey.ReceivedAt, "yesterday")
	badSource := message("odd", metakey.Source, "cloud")
	a, b, c, d := message("a"), message("b"), message("c"), message("d")

	for name, tt := range map[string]struct {
		conf  string
		batch service.MessageBatch
		want  string
	}{
		"one envelope":     {"{}", service.MessageBatch{a, b, c}, "[a b c]"},
		"mixed sources":    {"{}", service.MessageBatch{a, b, brokerMessage("x"), c}, "[a b] [x] [c]"},
		"source is fixed":  {"source: device", service.MessageBatch{a, brokerMessage("x")}, "[a x]"},
		"over max_bytes":   {"max_bytes: 600", service.MessageBatch{a, b, c, d}, "[a b] [c d]"},
		"one too large":    {"max_bytes: 600", service.MessageBatch{a, large.Copy(), b}, "[a] " + strings.Repeat("L", 1000) + "! [b]"},
		"failed before":    {"{}", service.MessageBatch{a, b, failed, c}, "[a b] failed! [c]"},
		"malformed time":   {"{}", service.MessageBatch{badTime, a, b}, "bad! [a b]"},
		"unknown source":   {"{}", service.MessageBatch{a, badSource}, "[a] odd!"},
		"all failed":       {`registry_id: ${! throw("no") }`, service.MessageBatch{a.Copy(), b.Copy()}, "a! b!"},
		"unneeded failing": {"source: broker\nregistry_id: ${! throw(\"no\") }", service.MessageBatch{a, b}, "[a b]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := outline(t, process(t, tt.conf, tt.batch...)); got != tt.want {
				t.Errorf("batch %s, want %s", got, tt.want)
			}
		})
	}
}

// longID has one character too many, and some more bytes.
var longID = "é" + strings.Repeat("d", 50)

func TestErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		conf string
		msg  *service.Message
		want string
	}{
		"time override": {"created_at: ${! content() }", message("yesterday"), `created_at is "yesterday": it must be a time in RFC 3339`},
		"time metadata": {"{}", message("x", metakey.ReceivedAt, "soon"), `metadata iot_received_at is "soon": it must be a time in RFC 3339`},
		"source":        {"{}", message("x", metakey.Source, "cloud"), `metadata iot_source is "cloud": it must be device or broker`},
		"interpolation": {`topic: ${! throw("no topic") }`, message("x"), "resolving topic: "},
		"device ID of the topic": {"{}", func() *service.Message {
			m := message("x", metakey.Topic, "$devices/"+longID+"/events")
			m.MetaDelete(metakey.DeviceID)
			return m
		}(), `device_id "` + longID + `" has 51 characters: give at most 50`},
		"device ID":   {"{}", message("x", metakey.DeviceID, longID), `device_id "` + longID + `" has 51 characters: give at most 50`},
		"registry ID": {"registry_id: ${! content() }", message(longID), `registry_id "` + longID + `" has 51 characters: give at most 50`},
		"broker ID":   {"{}", message("x", metakey.Source, sourceBroker, metakey.BrokerID, longID), `broker_id "` + longID + `" has 51 characters: give at most 50`},
		"too large":   {"max_bytes: 512", message(strings.Repeat("L", 600)), "exceeds max_bytes 512 (payload 600 bytes)"},
	} {
		t.Run(name, func(t *testing.T) {
			err := process(t, tt.conf, tt.msg)[0].GetError()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestOverrides(t *testing.T) {
	out := process(t, `
registry_id: my-registry
device_id: ${! metadata("key") }
topic: ${! metadata("key") }/up
event_id: ${! batch_index() }
event_type: ${! "com.example." + metadata("key") }
created_at: "2024-02-29T12:00:00.5+03:00"
`, message("a", "key", "k1"), message("b", "key", "k2"))
	entries := decode(t, out[0])
	for i, e := range entries {
		key := fmt.Sprintf("k%d", i+1)
		if e.Details.RegistryID != "my-registry" || e.Details.DeviceID != key || e.Details.Topic != key+"/up" {
			t.Errorf("entry %d has details %+v", i, e.Details)
		}
		if e.Metadata.EventID != fmt.Sprint(i) || e.Metadata.EventType != "com.example."+key {
			t.Errorf("entry %d has metadata %+v", i, e.Metadata)
		}
	}
	if !strings.Contains(content(t, out[0]), `"created_at":"2024-02-29T09:00:00.5Z"`) {
		t.Errorf("the time is not in UTC: %s", content(t, out[0]))
	}
}

func TestDefaultsWithoutMetadata(t *testing.T) {
	msg := service.NewMessage([]byte("x"))
	before := time.Now()
	e := decode(t, process(t, "{}", msg)[0])[0]
	if e.Metadata.CreatedAt.Before(before.Truncate(0)) || e.Metadata.CreatedAt.After(time.Now()) {
		t.Errorf("created at %v, want now", e.Metadata.CreatedAt)
	}
	if id, _ := msg.MetaGet(metakey.EventID); len(id) != 36 || id != e.Metadata.EventID {
		t.Errorf("event ID %q, the message has %q", e.Metadata.EventID, id)
	}
}

func TestDeviceID(t *testing.T) {
	unknown := message("x")
	unknown.MetaSetMut(metakey.DeviceID, "") // the input knows that no device sent it
	for name, tt := range map[string]struct {
		msg  *service.Message
		want string
	}{
		"metadata first": {message("x", metakey.DeviceID, "sender"), "sender"},
		"metadata empty": {unknown, ""},
		"topic":          {message("x"), "d"},
		"registry topic": {message("x", metakey.Topic, "$registries/r/events"), ""},
		"command":        {message("x", metakey.Topic, "$devices/d/commands"), ""},
	} {
		if got := decode(t, process(t, "{}", tt.msg)[0])[0].Details.DeviceID; got != tt.want {
			t.Errorf("%s: device ID %q, want %q", name, got, tt.want)
		}
	}
}

func TestReceivedAtMayBeATime(t *testing.T) {
	msg := message("x")
	at := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	msg.MetaSetMut(metakey.ReceivedAt, at)
	if got := decode(t, process(t, "{}", msg)[0])[0].Metadata.CreatedAt; !got.Equal(at) {
		t.Errorf("created at %v, want %v", got, at)
	}
}

func TestEnvelopeKeepsMetadataAndContext(t *testing.T) {
	type key struct{}
	first := message("a", "own", "1").WithContext(context.WithValue(t.Context(), key{}, "trace"))
	second := message("b", "own", "2")
	out := process(t, "{}", first, second)[0]

	for name, want := range map[string]string{
		"own": "1", metakey.EventID: "id-b", metakey.Messages: "2", metakey.Topic: "$devices/d/events",
	} {
		if got, _ := out.MetaGet(name); got != want {
			t.Errorf("metadata %s is %q, want %q", name, got, want)
		}
	}
	if out.Context().Value(key{}) != "trace" {
		t.Error("the envelope lost the context of its first message")
	}
	if got, _ := first.MetaGet(metakey.EventID); got != "id-a" || content(t, first) != "a" {
		t.Errorf("the first message was changed: event ID %q, content %q", got, content(t, first))
	}
}

type observer struct{ gateway.Observer }

func (observer) Received(int)         {}
func (observer) Served(time.Duration) {}

// The limit of the gateways divides a batch, and fails no message: that is the output's to say.
func TestLimitOfTheGateways(t *testing.T) {
	p := build(t, "{}")
	route := func(path string, queueBytes int64) gateway.RouteConfig {
		return gateway.RouteConfig{Path: path, Limits: fanout.Limits{QueueBytes: queueBytes}}
	}
	g, err := gateway.Start(gateway.Config{
		Address: "127.0.0.1:0", Routes: []gateway.RouteConfig{route("/large", 1<<20), route("/small", 2000)},
	}, func(string, string) gateway.Observer { return observer{} }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	set := gateway.NewSet(g)
	t.Cleanup(func() { set.Close(context.Background()) })
	p.res.SetGeneric(gateway.Key, set) // as the process does, once the resources are made

	payload := strings.Repeat("x", 900)
	batches, err := p.ProcessBatch(t.Context(), service.MessageBatch{
		message(payload), message(strings.Repeat("x", 3000)), message(payload),
	})
	if err != nil {
		t.Fatal(err)
	}
	if out := batches[0]; len(out) != 3 {
		t.Fatalf("%d envelopes, want 3", len(out))
	}
	for i, m := range batches[0] {
		content, _ := m.AsBytes()
		if err := m.GetError(); err != nil || !json.Valid(content) {
			t.Errorf("envelope %d: %v %.100s", i, err, content)
		}
	}
}
