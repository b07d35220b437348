package iotmqtt_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/redpanda-data/benthos/v4/public/service/integration"
	_ "github.com/redpanda-data/connect/v4/public/components/mqtt"

	"github.com/iotcast/iotcast/internal/devbroker"
	_ "github.com/iotcast/iotcast/plugins/iotmqtt"
)

// startBroker starts the embedded broker and returns its port.
func startBroker(t *testing.T) (b *devbroker.Broker, port string) {
	t.Helper()
	b, err := devbroker.Start(devbroker.Config{Address: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	_, port, _ = net.SplitHostPort(b.Addr().String())
	return b, port
}

// newStream builds a stream of an input of the given fields that hands its batches to
// consume.
func newStream(
	t *testing.T, b *service.StreamBuilder, fields string, consume service.MessageBatchHandlerFunc,
) (s *service.Stream, logs *logBook) {
	t.Helper()
	logs = newLogBook()
	b.SetLogger(slog.New(logs))
	if !strings.Contains(fields, "protocol:") {
		fields += "\nprotocol: " + protocol
	}
	if err := b.AddInputYAML("iot_mqtt:\n" + indent(fields)); err != nil {
		t.Fatal(err)
	}
	if err := b.AddBatchConsumerFunc(consume); err != nil {
		t.Fatal(err)
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return s, logs
}

// runStream runs a stream until the test ends.
func runStream(t *testing.T, s *service.Stream) {
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := s.StopWithin(5 * time.Second); err != nil {
			t.Error(err)
		}
		<-ended
	})
}

// TestStreamSuite is the suite that Benthos offers for every connector.
func TestStreamSuite(t *testing.T) {
	t.Parallel()
	const template = `
output:
  mqtt:
    urls: [ tcp://127.0.0.1:$PORT ]
    qos: 1
    topic: topic-$ID
    client_id: out-$ID
    max_in_flight: $MAX_IN_FLIGHT

input:
  iot_mqtt:
    urls: [ tcp://127.0.0.1:$PORT ]
    broker_id: suite
    topics: [ topic-$ID ]
    client_id: in-$ID
    protocol: $VAR3
    clean_session: $VAR1
    batching: { count: $VAR2, period: 100ms }
`
	b, port := startBroker(t)
	for _, batch := range []string{"1", "10"} {
		for _, clean := range []string{"true", "false"} {
			t.Run("batch "+batch+" clean session "+clean, func(t *testing.T) {
				integration.StreamTests(
					integration.StreamTestOpenClose(),
					integration.StreamTestSendBatch(10),
					integration.StreamTestSendBatches(20, 20, 1),
					integration.StreamTestStreamSequential(200),
					integration.StreamTestStreamParallel(500),
				).Run(t, template,
					integration.StreamTestOptPort(port),
					integration.StreamTestOptVarSet("VAR1", clean),
					integration.StreamTestOptVarSet("VAR2", batch),
					integration.StreamTestOptVarSet("VAR3", protocol),
					integration.StreamTestOptSleepAfterInput(time.Second),
					integration.StreamTestOptMaxInFlight(10),
				)
			})
		}
	}
	t.Cleanup(func() {
		if inflight, messages := b.Dropped(); inflight+messages > 0 {
			t.Errorf("the broker dropped %d and %d messages", inflight, messages)
		}
	})
}
