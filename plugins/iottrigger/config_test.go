package iottrigger

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

func TestLints(t *testing.T) {
	linter := service.GlobalEnvironment().NewComponentConfigLinter()
	for conf, want := range map[string]string{
		"iot_trigger: {}":                       "",
		"iot_trigger: { max_bytes: 0 }":         "",
		"iot_trigger: { max_bytes: 512 }":       "",
		"iot_trigger: { source: broker }":       "",
		"iot_trigger: { max_bytes: 511 }":       errMaxBytes,
		"iot_trigger: { max_bytes: -1 }":        errMaxBytes,
		"iot_trigger: { source: cloud }":        "value cloud is not a valid option",
		"iot_trigger: { payload_format: json }": "",
		"iot_trigger: { payload_format: text }": "value text is not a valid option",
		"iot_trigger: { topic: '${! json(' }":   "expected",
		"iot_trigger: { registry: r }":          "field registry not recognised",
	} {
		lints, err := linter.LintProcessorYAML([]byte(conf))
		if err != nil {
			t.Errorf("%s: %v", conf, err)
			continue
		}
		var all strings.Builder
		for _, lint := range lints {
			all.WriteString(lint.What)
		}
		if (want == "") != (len(lints) == 0) || !strings.Contains(all.String(), want) {
			t.Errorf("%s: lints %q, want %q", conf, all.String(), want)
		}
	}
}

// TestConstructorChecks covers configs that come past the linter.
func TestConstructorChecks(t *testing.T) {
	for conf, want := range map[string]string{
		"max_bytes: 511":       errMaxBytes,
		"device_id: " + longID: "has 51 characters",
		"source: cloud":        `source is "cloud": it must be auto, device or broker`,
		"payload_format: text": `payload_format is "text": it must be base64 or json`,
		"topic: '${! json(' ":  "failed to parse interpolated field 'topic'",
		"max_bytes: plenty":    "max_bytes",
		"event_id: '${! x() '": "event_id",
	} {
		parsed, err := Spec().ParseYAML(conf, nil)
		if err == nil {
			_, err = newProcessor(parsed, service.MockResources())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", conf, err, want)
		}
	}
}

// stream runs a batch through the processor as it is registered, between an input and an output.
func stream(t *testing.T, conf string, batch ...*service.Message) service.MessageBatch {
	t.Helper()
	builder := service.NewStreamBuilder()
	if err := builder.SetLoggerYAML("level: none"); err != nil {
		t.Fatal(err)
	}
	send, err := builder.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	if err := builder.AddProcessorYAML(conf); err != nil {
		t.Fatal(err)
	}
	received := make(chan service.MessageBatch, 1)
	if err := builder.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
		received <- batch
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	running, err := builder.Build()
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- running.Run(context.Background()) }()

	if err := send(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	out := <-received
	if err := running.StopWithin(10 * time.Second); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	return out
}

func TestStream(t *testing.T) {
	large := strings.Repeat("L", 600)
	out := stream(t, "iot_trigger: { max_bytes: 600 }", message("a"), message("b"), message(large), message("c"))
	if got, want := outline(t, out), "[a b] "+large+"! [c]"; got != want {
		t.Errorf("batch %s, want %s", got, want)
	}
}

func TestStreamOfJSONPayloads(t *testing.T) {
	out := stream(t, "iot_trigger: { payload_format: json }",
		message("{\n\"t\": 21.50}"), message("Test 4"), message(""), brokerMessage("7"))
	if len(out) != 2 {
		t.Fatalf("%d envelopes, want 2", len(out))
	}
	for i, want := range [][]string{
		{`"payload":{ "t": 21.50}}}`, `"payload_base64":"VGVzdCA0"}}`, `"payload_base64":""}}`},
		{`"broker_id":"b","mqtt_topic":"kitchen","payload":7}}`},
	} {
		got := content(t, out[i])
		for _, part := range want {
			if !strings.Contains(got, part) || strings.Count(got, `"payload`) != len(want) {
				t.Errorf("envelope %s, want %s in it", got, part)
			}
		}
	}
}
