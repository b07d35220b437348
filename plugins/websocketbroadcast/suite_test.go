package websocketbroadcast_test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/redpanda-data/benthos/v4/public/service/integration"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	_ "github.com/iotcast/iotcast/plugins/websocketbroadcast"
)

type silent struct{}

func (silent) Handshake(int, string) {}
func (silent) Closed(string)         {}
func (silent) Received(int)          {}
func (silent) Watched(bool)          {}
func (silent) HandlerFailed(string)  {}
func (silent) Served(time.Duration)  {}

func startGateway(t testing.TB, limits fanout.Limits) *gateway.Set {
	t.Helper()
	g, err := gateway.Start(gateway.Config{
		Label:   "main",
		Address: "127.0.0.1:0",
		Routes:  []gateway.RouteConfig{{Path: "/telemetry", Limits: limits}},
	}, func(string, string) gateway.Observer { return silent{} }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	set := gateway.NewSet(g)
	t.Cleanup(func() { set.Close(context.Background()) })
	return set
}

// TestStreamSuite is the suite that Benthos offers for every connector; its
// input is Benthos' own WebSocket client.
func TestStreamSuite(t *testing.T) {
	const template = `
output:
  websocket_broadcast:
    gateway: main
    path: /telemetry
    no_connections: wait
    max_in_flight: $MAX_IN_FLIGHT

input:
  websocket:
    url: ws://127.0.0.1:$PORT/telemetry
`
	for _, test := range []integration.StreamTestDefinition{
		integration.StreamTestOpenClose(),
		integration.StreamTestSendBatch(10),
		integration.StreamTestStreamSequential(500),
		integration.StreamTestStreamParallel(500),
	} {
		set := startGateway(t, fanout.Limits{QueueBytes: 1 << 20, MaxMessageBytes: 1 << 10})
		_, port, _ := net.SplitHostPort(set.All()[0].Addr().String())
		integration.StreamTests(test).Run(t, template,
			integration.StreamTestOptPort(port),
			integration.StreamTestOptMaxInFlight(1),
			integration.StreamTestOptOnResourcesInit(func(res *service.Resources) error {
				res.SetGeneric(gateway.Key, set)
				return nil
			}),
		)
	}
}
