package plugins_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/reserve"
	"github.com/iotcast/iotcast/plugins"
	"github.com/iotcast/iotcast/plugins/feed"
	"github.com/iotcast/iotcast/plugins/gateway"
)

// A binary of your own runs whole configs, with gateways. Its main is no more than
//
//	func main() { os.Exit(plugins.Run(context.Background())) }
//
// and `mine run trigger.yaml` does what happens here.
func ExampleRun() {
	address, err := reserve.Address() // a free one, in place of 127.0.0.1:8080
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "example-*")
	if err != nil {
		log.Fatal(err)
	}
	config := filepath.Join(dir, "trigger.yaml")
	err = os.WriteFile(config, []byte(strings.ReplaceAll(`
http: { enabled: false }
logger: { level: NONE }
websocket_gateways:
  - label: main
    address: 127.0.0.1:8080
    routes: [ { path: /telemetry } ]
input:
  generate: { count: 1, mapping: 'root = {"temperature": 21.5}' }
pipeline:
  processors:
    - iot_trigger: { registry_id: my-registry, topic: $devices/boiler/events }
output:
  websocket_broadcast: { gateway: main, path: /telemetry, no_connections: wait }
`, "127.0.0.1:8080", address)), 0o600)
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan int)
	go func() { ended <- plugins.Run(context.Background(), service.CLIOptSetArgs("mine", "run", config)) }()

	printFirst("ws://"+address+"/telemetry", feed.Options{MinWait: time.Millisecond}) // until it listens
	fmt.Println("ended with", <-ended)
	_ = os.RemoveAll(dir)
	// Output:
	// my-registry boiler {"temperature":21.5}
	// ended with 0
}

// A stream that is built in Go has the components, and no top-level fields, which belong to the command line. Its envelopes go
// to a gateway in the HTTP server of the program.
func Example_streamBuilder() {
	g, err := gateway.New(gateway.Options{History: gateway.History{MaxMessages: 100}})
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(g)

	builder := service.NewStreamBuilder()
	produce, err := builder.AddProducerFunc()
	if err != nil {
		log.Fatal(err)
	}
	if err := builder.AddProcessorYAML(`iot_trigger: { registry_id: my-registry, topic: $devices/boiler/events }`); err != nil {
		log.Fatal(err)
	}
	if err := builder.AddConsumerFunc(func(_ context.Context, m *service.Message) error {
		envelope, err := m.AsBytes()
		if err != nil {
			return err
		}
		id, _ := m.MetaGet("iot_event_id") // for clients that come back
		return g.BroadcastRaw(gateway.Frame{Data: envelope, EventID: id})
	}); err != nil {
		log.Fatal(err)
	}
	if err := builder.SetLoggerYAML("level: NONE"); err != nil {
		log.Fatal(err)
	}
	stream, err := builder.Build()
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- stream.Run(ctx) }()
	if err := produce(ctx, service.NewMessage([]byte(`{"temperature":21.5}`))); err != nil {
		log.Fatal(err)
	}

	printFirst(server.URL, feed.Options{Rewind: time.Minute})
	cancel()
	<-ended
	server.Close()
	g.Close(context.Background())
	// Output: my-registry boiler {"temperature":21.5}
}

// printFirst prints the first message that a client gets.
func printFirst(url string, options feed.Options) {
	f, err := feed.New(url, options)
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range f.Events(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		if m, ok := event.(feed.Message); ok {
			payload, err := m.Payload()
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(m.RegistryID, m.DeviceID, string(payload))
			return
		}
	}
}
