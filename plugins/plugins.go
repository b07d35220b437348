// Package plugins is iotcast as a library: importing it registers the
// components iot_mqtt, iot_trigger, websocket_broadcast, envelope_log,
// websocket_connection and write_output, and Run is Benthos' command line with them and with the top-level
// fields websocket_gateways, connection_api, management_api, mqtt_broker, iot_registries,
// iot_brokers and http_guard.
//
// A binary of your own with iotcast in it:
//
//	func main() { os.Exit(plugins.Run(context.Background())) }
//
// An HTTP server of your own, without Benthos, takes package gateway beside this one; a program that reads what a gateway sends,
// package feed.
package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/plugins/connectionapi"
	_ "github.com/iotcast/iotcast/plugins/envelopelog" // registers the input and the output
	"github.com/iotcast/iotcast/plugins/httpguard"
	"github.com/iotcast/iotcast/plugins/internal/logging"
	_ "github.com/iotcast/iotcast/plugins/iotmqtt" // registers the input
	"github.com/iotcast/iotcast/plugins/iotregistries"
	_ "github.com/iotcast/iotcast/plugins/iottrigger" // registers the processor
	"github.com/iotcast/iotcast/plugins/managementapi"
	"github.com/iotcast/iotcast/plugins/mqttbroker"
	_ "github.com/iotcast/iotcast/plugins/websocketbroadcast"  // registers the output
	_ "github.com/iotcast/iotcast/plugins/websocketconnection" // registers the processor
	"github.com/iotcast/iotcast/plugins/websocketgateways"
	_ "github.com/iotcast/iotcast/plugins/writeoutput" // registers the processor

	"github.com/iotcast/iotcast/internal/control"
	"github.com/iotcast/iotcast/internal/devbroker"
	"github.com/iotcast/iotcast/internal/help"
	"github.com/iotcast/iotcast/internal/readiness"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/streamsapi"
	"github.com/iotcast/iotcast/internal/tap"
	"github.com/iotcast/iotcast/internal/version"
)

// Schema is Benthos' configuration schema with our top-level fields.
func Schema() *service.ConfigSchema {
	s := service.GlobalEnvironment().FullConfigSchema("", "").Fields(topLevel()...)
	s.SetFieldDefault(httpguard.DefaultAddress, "http", "address")
	s.SetFieldDefault(map[string]any{"@service": "iotcast"}, "logger", "static_fields")
	return s
}

// topLevel are our fields, made once: with each of them Benthos parses lint rules, which is the
// greater part of what a command does before it reads its config.
var topLevel = sync.OnceValue(func() []*service.ConfigField {
	return append([]*service.ConfigField{
		websocketgateways.Field(), connectionapi.Field(), mqttbroker.Field(), httpguard.Field(), managementapi.Field(),
	}, iotregistries.Fields()...)
})

// Options are for service.RunCLI: they teach Benthos' command line the top-level
// fields, and start what these describe before the first stream. They look for a
// config that is not named in ./iotcast.yaml, /iotcast.yaml and /etc/iotcast. Help,
// --version and /version are those of iotcast, unless later options such as
// service.CLIOptSetVersion say otherwise.
//
// Benthos has no hook for the end of the process. Prefer Run, which closes the
// connections properly; with service.RunCLI they break off when it exits, and
// lint --skip-env-var-check ends with 1 although nothing is wrong.
func Options() []service.CLIOptFunc { return newProcess().options() }

// Run runs Benthos' command line with Options and more, until it ends, then
// closes every WebSocket connection and returns the exit code.
func Run(ctx context.Context, more ...service.CLIOptFunc) (code int) {
	p := newProcess()
	defer p.stop()
	defer func() {
		if err := takenMetric(recover()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	code, err := service.RunCLIToCode(ctx, append(p.options(), more...)...)
	if errors.Is(err, errLinted) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, withoutSecret(err))
	}
	return code
}

// withoutSecret is the error without the value of a secret that is no text, which
// Benthos quotes. checkConfigs finds it in files; this is for what --set sets.
func withoutSecret(err error) error {
	if strings.Contains(err.Error(), "failed to generate sanitised config") {
		return errors.New("a field that holds a secret, such as a password, is set to something else than text: put it in quotes, as --set input.iot_mqtt.password='\"12345\"'")
	}
	return err
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
	mode   httpguard.Mode
	ready  readiness.Checks
	watch  *watch        // of the main config, or nil
	launch chan struct{} // closed when streams mode has made the streams of its files

	launchOnce sync.Once

	mu      sync.Mutex
	cleanup []func()
}

func newProcess() *process { return &process{launch: make(chan struct{})} }

// requestTimeout is for the requests to an API that are under way.
const requestTimeout = time.Second

func (p *process) options() []service.CLIOptFunc {
	help.Install()
	return []service.CLIOptFunc{
		service.CLIOptSetVersion(version.Number(), version.Date()), // else those of Benthos
		service.CLIOptSetProductName("iotcast"),
		service.CLIOptSetMainSchemaFrom(Schema),
		service.CLIOptSetDefaultConfigPaths(defaultConfigs...),
		service.CLIOptCustomRunFlags(nil, p.prepare),
		service.CLIOptAddTeeLogger(slog.New(outcomes{func() *watch { return p.watch }})),
		service.CLIOptOnConfigParse(p.start),
		service.CLIOptOnStreamStart(p.launched),
	}
}

// prepare runs before a config is read.
func (p *process) prepare(c *cli.Context) error {
	if err := p.mode.Extract(c); err != nil {
		return err
	}
	if err := checkConfigs(c); err != nil {
		return err
	}
	if slices.Contains([]string{"lint", "test", "echo"}, c.Command.Name) {
		return nil
	}
	if c.Bool("watcher") {
		p.atStop(release(func() []string {
			files, _ := configsOf(c)
			return files
		}))
	}
	path := mainConfig(c)
	if path == "" {
		return nil
	}
	w, err := newWatch(path, c)
	if err != nil {
		return err
	}
	p.watch = w
	p.atStop(w.remove)
	if w.streams || !w.looks {
		return nil
	}
	if err := w.makeCopy(); err != nil {
		return err
	}
	return c.Set("config", w.copy)
}

// start runs after the root config is parsed and before any stream is made;
// never for lint, test or create.
func (p *process) start(root *service.ParsedConfig) error {
	root.Resources().Metrics().NewGauge("iotcast_build_info", "version", "goversion").Set(1, version.Number(), runtime.Version())
	s := parts{ParsedConfig: root, log: logging.New(root.Resources().Logger())}
	for _, step := range []func(*parts) error{p.startState, p.startGuard, p.startBroker, p.startGateways, p.startAPIs, p.startWatch} {
		if err := step(&s); err != nil {
			return err
		}
	}
	return nil
}

// parts are what the steps of start make, for those that follow.
type parts struct {
	*service.ParsedConfig
	log        *slog.Logger
	management *managementapi.API // nil: there is none
	managed    control.Config     // what it manages
	api        http.Handler       // of Benthos, without the guard
	mqtt       string             // address of the MQTT broker in this process; empty: it has none over TCP
	gateways   *websocketgateways.Gateways
}

// startState finds out who takes part: whom the config names, and whom the management API has kept.
func (p *process) startState(s *parts) (err error) {
	if s.managed.Fixed, err = iotregistries.FromConfig(s.ParsedConfig); err != nil {
		return err
	}
	if s.management, err = managementapi.FromConfig(s.ParsedConfig); err != nil {
		return err
	}
	if s.management == nil {
		s.managed.Directory, err = iotregistries.Directory(s.managed.Fixed)
	} else {
		p.atStop(s.management.Close)
		s.managed.Tap = tap.New()
		s.Resources().SetGeneric(tap.Key, s.managed.Tap)
		s.managed.Directory, err = s.management.Open(s.managed.Fixed)
	}
	if s.managed.Directory != nil {
		s.Resources().SetGeneric(registry.Key, s.managed.Directory)
	}
	return err
}

// startGuard puts the guard before Benthos' HTTP API.
func (p *process) startGuard(s *parts) (err error) {
	var stop func(context.Context)
	if s.api, stop, err = httpguard.Start(s.ParsedConfig, p.mode, s.management.Callers(), p.ready.Err, s.management.IsTrigger); err != nil {
		return err
	}
	p.atStop(within(requestTimeout, stop))
	return nil
}

func (p *process) startBroker(s *parts) error {
	cfg, enabled, err := mqttbroker.FromConfig(s.ParsedConfig)
	if !enabled || err != nil {
		return err
	}
	cfg.Directory = s.managed.Directory
	b, err := devbroker.Start(cfg, s.log)
	if err != nil {
		return err
	}
	p.atStop(func() { _ = b.Close() })
	p.atStop(mqttbroker.Export(b, cfg.Limits, s.Resources().Metrics()))
	s.managed.Broker = b
	if a := b.Addr(); a != nil { // it may be there over TLS or WebSocket only
		s.mqtt, s.managed.BrokerURL = a.String(), "tcp://"+reachable(a)
	}
	return nil
}

func (p *process) startGateways(s *parts) (err error) {
	if s.gateways, err = websocketgateways.Start(s.ParsedConfig, s.mqtt); err != nil {
		return err
	}
	p.atStop(s.gateways.Close)
	return nil
}

// startAPIs starts the connection API and the management API, as far as they are asked for.
func (p *process) startAPIs(s *parts) error {
	connected, err := connectionapi.Start(s.ParsedConfig, &p.ready, s.management != nil)
	if err != nil {
		return err
	}
	p.atStop(within(requestTimeout, connected.Close))
	if s.management == nil {
		return nil
	}
	s.managed.Launch = p.launch
	s.managed.Connections, s.managed.MaxMessageBytes = connected.Directory, connected.MaxMessageBytes
	if s.managed.Streams, err = p.streams(s.ParsedConfig, s.api); err != nil {
		return err
	}
	s.managed.Metrics, s.managed.Gateways = metricsOf(s.api), s.gateways.Overview
	s.managed.MaskStream = httpguard.Masked
	if err := s.management.Serve(s.managed, &p.ready); err != nil {
		return err
	}
	p.atStop(s.management.Close) // before what it manages
	return nil
}

func (p *process) startWatch(s *parts) error {
	if p.watch != nil {
		p.atStop(p.watch.start(s.log, s.gateways, s.api))
	}
	return nil
}

// launched comes after start, and after the streams of files. In a binary of somebody else it may not come: they may have a
// hook of their own.
func (p *process) launched(*service.RunningStreamSummary) error {
	p.launchOnce.Do(func() { close(p.launch) }) // a stream that is made anew starts, too
	return nil
}

// streams are those of this process, for its triggers; nil where there are none.
func (p *process) streams(root *service.ParsedConfig, api http.Handler) (control.Streams, error) {
	if !p.mode.HasStreams() {
		return nil, nil
	}
	if closed, _ := root.FieldBool("http", "basic_auth", "enabled"); closed {
		return nil, errors.New("http.basic_auth closes /streams to the triggers of management_api, too: set username and password of http_guard instead")
	}
	return streamsapi.Within(api), nil
}

// metricsOf are those of this process, as its HTTP API shows them to Prometheus.
func metricsOf(api http.Handler) func(context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		answer := httptest.NewRecorder()
		api.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", http.NoBody))
		if answer.Code != http.StatusOK || !strings.HasPrefix(answer.Header().Get("Content-Type"), "text/plain") {
			return nil, errors.New("the HTTP API of this process has no metrics for Prometheus")
		}
		return answer.Body.Bytes(), nil
	}
}

// reachable is an address at which this process reaches its own listener.
func reachable(listener net.Addr) string {
	host, port, err := net.SplitHostPort(listener.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return listener.String()
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
