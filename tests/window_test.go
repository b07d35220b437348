package tests

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"

	_ "github.com/iotcast/iotcast/plugins/iotmqtt"
)

// TestBatchLargerThanTheWindow: Mosquitto as it is installed sends 20 messages before
// it waits for acknowledgements. A batch that is to hold more must not wait for what
// cannot come: at a batch a period, these messages would take minutes.
func TestBatchLargerThanTheWindow(t *testing.T) {
	said := 0
	for _, count := range []int{21, 100, 1000} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			b := startMosquitto(t, "max_queued_messages 0")
			got := startBatches(t, b, fmt.Sprintf(`
    client_id: window
    clean_session: false
    batching: { count: %d, period: 5s }
`, count))
			const messages = 1500
			all := make([]message, messages)
			for i := range all {
				all[i] = message{"t", fmt.Appendf(nil, "%d", i)}
			}
			b.publish(1, all...)
			eventually(t, "all messages arrive", func() bool { return got.len() == messages })
			n := strings.Count(got.logs.String(), "max_inflight_messages")
			if n > 1 {
				t.Errorf("the log says it %d times", n)
			}
			said += n
		})
	}
	if said == 0 { // on a busy machine not each has shown for sure what the broker waits for
		t.Error("the log does not say why batches are small")
	}
}

// batches is a stream of an iot_mqtt input, and what comes out of it.
type batches struct {
	mu    sync.Mutex
	sizes []int
	logs  logText
}

func (b *batches) len() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, size := range b.sizes {
		n += size
	}
	return n
}

// logText is a log.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func startBatches(t *testing.T, b *broker, fields string) *batches {
	t.Helper()
	var got batches
	builder := service.NewStreamBuilder()
	builder.SetLogger(slog.New(slog.NewTextHandler(&got.logs, nil)))
	if err := builder.AddInputYAML("iot_mqtt:\n    urls: [ " + b.url() + " ]\n    broker_id: b\n" + strings.Trim(fields, "\n")); err != nil {
		t.Fatal(err)
	}
	if err := builder.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
		got.mu.Lock()
		defer got.mu.Unlock()
		got.sizes = append(got.sizes, len(batch))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s, err := builder.Build()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := s.StopWithin(5 * time.Second); err != nil {
			t.Error(err)
		}
		<-ended
	})
	eventually(t, "the input subscribes", func() bool { return strings.Contains(got.logs.String(), "Subscribed") })
	return &got
}
