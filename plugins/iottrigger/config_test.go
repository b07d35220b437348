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
		"iot_trigger: {}":                     "",
		"iot_trigger: { max_bytes: 0 }":       "",
		"iot_trigger: { max_bytes: 512 }":     "",
		"iot_trigger: { source: broker }":     "",
		"iot_trigger: { max_bytes: 511 }":     errMaxBytes,
		"iot_trigger: { max_bytes: -1 }":      errMaxBytes,
		"iot_trigger: { source: cloud }":      "value cloud is not a valid option",
		"iot_trigger: { topic: '${! json(' }": "expected",
		"iot_trigger: { registry: r }":        "field registry not recognised",
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

// TestStream runs the processor as it is registered, between an input and an output.
func TestStream(t *testing.T) {
	builder := service.NewStreamBuilder()
	if err := builder.SetLoggerYAML("level: none"); err != nil {
		t.Fatal(err)
	}
	send, err := builder.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	if err := builder.AddProcessorYAML("iot_trigger: { max_bytes: 600 }"); err != nil {
		t.Fatal(err)
	}
	received := make(chan service.MessageBatch, 1)
	if err := builder.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
		received <- batch
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	stream, err := builder.Build()
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- stream.Run(context.Background()) }()

	if err := send(t.Context(), service.MessageBatch{message("a"), message("b"), message(strings.Repeat("L", 600)), message("c")}); err != nil {
		t.Fatal(err)
	}
	if got, want := outline(t, <-received), "[a b] "+strings.Repeat("L", 600)+"! [c]"; got != want {
		t.Errorf("batch %s, want %s", got, want)
	}
	if err := stream.StopWithin(10 * time.Second); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
