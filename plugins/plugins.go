// Package plugins is iotcast as a library: importing it registers the
// components iot_mqtt, iot_trigger, websocket_broadcast, websocket_connection and
// write_output, and Run is Benthos' command line with them and with the top-level
// fields websocket_gateways, connection_api, mqtt_broker, iot_registries,
// iot_brokers and http_guard.
//
// A binary of your own with iotcast in it:
//
//	func main() { os.Exit(plugins.Run(context.Background())) }
package plugins

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/plugins/connectionapi"
	"github.com/iotcast/iotcast/plugins/httpguard"
	"github.com/iotcast/iotcast/plugins/internal/logging"
	_ "github.com/iotcast/iotcast/plugins/iotmqtt" // registers the input
	"github.com/iotcast/iotcast/plugins/iotregistries"
	_ "github.com/iotcast/iotcast/plugins/iottrigger" // registers the processor
	"github.com/iotcast/iotcast/plugins/mqttbroker"
	_ "github.com/iotcast/iotcast/plugins/websocketbroadcast"  // registers the output
	_ "github.com/iotcast/iotcast/plugins/websocketconnection" // registers the processor
	"github.com/iotcast/iotcast/plugins/websocketgateways"
	_ "github.com/iotcast/iotcast/plugins/writeoutput" // registers the processor

	"github.com/iotcast/iotcast/internal/devbroker"
	"github.com/iotcast/iotcast/internal/registry"
)

// Schema is Benthos' configuration schema with our top-level fields.
func Schema() *service.ConfigSchema {
	s := service.GlobalEnvironment().FullConfigSchema("", "").
		Fields(websocketgateways.Field(), connectionapi.Field(), mqttbroker.Field(), httpguard.Field()).
		Fields(iotregistries.Fields()...)
	s.SetFieldDefault(httpguard.DefaultAddress, "http", "address")
	s.SetFieldDefault(map[string]any{"@service": "iotcast"}, "logger", "static_fields")
	return s
}

// Options are for service.RunCLI: they teach Benthos' command line the top-level
// fields, and start what these describe before the first stream.
//
// Benthos has no hook for the end of the process. Prefer Run, which closes the
// connections properly; with service.RunCLI they break off when it exits.
func Options() []service.CLIOptFunc { return new(process).options() }

// Run runs Benthos' command line with Options and more, until it ends, then
// closes every WebSocket connection and returns the exit code.
func Run(ctx context.Context, more ...service.CLIOptFunc) (code int) {
	p := new(process)
	defer p.stop()
	defer func() {
		if err := takenMetric(recover()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	code, err := service.RunCLIToCode(ctx, append(p.options(), more...)...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// descriptor is how Prometheus names a metric in an error.
var descriptor = regexp.MustCompile(`Desc\{fqName: "([^"]*)"`)

// takenMetric is the error of a panic with which Connect's prometheus answers to a
// processor metric whose name or labels are taken. It passes on other panics.
func takenMetric(panicked any) error {
	if panicked == nil {
		return nil
	}
	if err, ok := panicked.(error); ok {
		if found := descriptor.FindStringSubmatch(err.Error()); found != nil {
			return fmt.Errorf("metric %q: a processor metric cannot have this name with these labels, since the process or another stream has it otherwise: give it another: %w", found[1], err)
		}
	}
	panic(panicked)
}

// process is what lives as long as the process: longer than any stream.
type process struct {
	mode    httpguard.Mode
	mu      sync.Mutex
	cleanup []func()
}

// requestTimeout is for the requests to an API that are under way.
const requestTimeout = time.Second

func (p *process) options() []service.CLIOptFunc {
	return []service.CLIOptFunc{
		service.CLIOptSetMainSchemaFrom(Schema),
		service.CLIOptCustomRunFlags(nil, p.mode.Extract),
		service.CLIOptOnConfigParse(p.start),
	}
}

// start runs after the root config is parsed and before any stream is made;
// never for lint, test or create.
func (p *process) start(root *service.ParsedConfig) error {
	stopAPI, err := httpguard.Start(root, p.mode)
	if err != nil {
		return err
	}
	p.atStop(within(requestTimeout, stopAPI))
	directory, err := iotregistries.FromConfig(root)
	if err != nil {
		return err
	}
	if directory != nil {
		root.Resources().SetGeneric(registry.Key, directory)
	}
	cfg, enabled, err := mqttbroker.FromConfig(root)
	if err != nil {
		return err
	}
	if enabled {
		cfg.Directory = directory
		b, err := devbroker.Start(cfg, logging.New(root.Resources().Logger()))
		if err != nil {
			return err
		}
		p.atStop(func() { _ = b.Close() })
	}
	closeGateways, err := websocketgateways.Start(root)
	if err != nil {
		return err
	}
	p.atStop(closeGateways)
	stop, err := connectionapi.Start(root)
	if err != nil {
		return err
	}
	p.atStop(within(requestTimeout, stop))
	return nil
}

func within(limit time.Duration, stop func(context.Context)) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		stop(ctx)
	}
}

func (p *process) atStop(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cleanup = append(p.cleanup, f)
}

// stop undoes start, in reverse.
func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.cleanup) > 0 {
		last := len(p.cleanup) - 1
		p.cleanup[last]()
		p.cleanup = p.cleanup[:last]
	}
}
