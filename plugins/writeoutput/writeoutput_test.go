package writeoutput_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	"go.uber.org/goleak"

	_ "github.com/iotcast/iotcast/plugins/writeoutput"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink is an output whose answer the test decides on.
type sink struct {
	mu     sync.Mutex
	got    []string
	answer func(context.Context) error
}

func (s *sink) Connect(context.Context) error { return nil }
func (s *sink) Close(context.Context) error   { return nil }

func (s *sink) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	for _, m := range batch {
		b, _ := m.AsBytes()
		s.mu.Lock()
		s.got = append(s.got, string(b))
		s.mu.Unlock()
		m.SetBytes([]byte("changed by the output"))
	}
	if s.answer != nil {
		return s.answer(ctx)
	}
	return nil
}

func (s *sink) written() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// stream runs messages through processors, with the sink as output resource, and
// returns what comes out: of failed messages, their error.
func stream(t *testing.T, s *sink, processors string, messages ...string) (out []string) {
	t.Helper()
	env := service.NewEnvironment()
	open := func(*service.ParsedConfig, *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
		return s, service.BatchPolicy{}, 1, nil
	}
	if err := env.RegisterBatchOutput("sink", service.NewConfigSpec(), open); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := errors.Join(
		b.SetLoggerYAML("level: NONE"),
		b.AddResourcesYAML("output_resources: [ { label: commands, sink: {} } ]"),
		b.AddProcessorYAML(processors),
	); err != nil {
		t.Fatal(err)
	}
	produce, err := b.AddBatchProducerFunc()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
		for _, m := range batch {
			text, _ := m.AsBytes()
			if failed := m.GetError(); failed != nil {
				text = []byte(failed.Error())
			}
			out = append(out, string(text))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	st, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- st.Run(ctx) }()
	var batch service.MessageBatch
	for _, m := range messages {
		batch = append(batch, service.NewMessage([]byte(m)))
	}
	if err := produce(ctx, batch); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(st.Stop(ctx), <-ended); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWritesAndPassesOn(t *testing.T) {
	s := new(sink)
	if got := stream(t, s, "write_output: { resource: commands }", "one", "two"); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("passed on %q", got)
	}
	if got := s.written(); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("written %q", got)
	}
}

func TestFailedMessagesAreNotWritten(t *testing.T) {
	s := new(sink)
	got := stream(t, s, `
for_each:
  - mapping: 'root = if content() == "bad" { throw("no such command") }'
  - write_output: { resource: commands }
`, "good", "bad")
	if len(got) != 2 || got[0] != "good" || !strings.Contains(got[1], "no such command") {
		t.Errorf("passed on %q", got)
	}
	if got := s.written(); !slices.Equal(got, []string{"good"}) {
		t.Errorf("written %q", got)
	}
}

func TestRefusedByTheOutput(t *testing.T) {
	s := &sink{answer: func(context.Context) error { return errors.New("the broker is full") }}
	for _, text := range stream(t, s, "write_output: { resource: commands }", "one", "two") {
		if !strings.Contains(text, `"commands"`) || !strings.Contains(text, "the broker is full") {
			t.Errorf("%q does not say where and why", text)
		}
	}
}

func TestTimeout(t *testing.T) {
	s := &sink{answer: func(context.Context) error {
		time.Sleep(500 * time.Millisecond) // far beyond the timeout, and an end for the stream to wait for
		return nil
	}}
	got := stream(t, s, "write_output: { resource: commands, timeout: 10ms }", "one")
	if len(got) != 1 || !strings.Contains(got[0], "in time") {
		t.Errorf("passed on %q", got)
	}
}

func TestUnknownResource(t *testing.T) {
	b := service.NewStreamBuilder()
	if err := errors.Join(b.SetLoggerYAML("level: NONE"), b.AddProcessorYAML("write_output: { resource: nowhere }")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AddProducerFunc(); err != nil {
		t.Fatal(err)
	}
	st, err := b.Build()
	if err == nil {
		err = st.Run(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), `"nowhere"`) || !strings.Contains(err.Error(), "output_resources") {
		t.Errorf("%v does not say what to do", err)
	}
	if err := b.AddProcessorYAML(`write_output: { resource: "" }`); err == nil || !strings.Contains(err.Error(), "must not be empty") {
		t.Errorf("lint of an empty label: %v", err)
	}
}
