package plugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/configtext"
	"github.com/iotcast/iotcast/internal/metricnames"
	"github.com/iotcast/iotcast/plugins/websocketgateways"
)

// lookEvery is how often a watched config is read.
const lookEvery = 500 * time.Millisecond

// watch applies a config that changes. The gateways it changes itself. For the stream of
// run -w it stands between the config and the watcher of Benthos, which runs on a copy of
// it: by itself Benthos ends the stream before it makes the new one, and leaves none if
// that cannot be made; it takes over no field but those of the stream, and says that it
// has updated all. Of the streams of streams mode Benthos' watcher has the files.
type watch struct {
	path     string // as the user named it
	copy     string // what Benthos reads, if it does so again
	streams  bool   // it is the root config of streams mode
	looks    bool   // it looks by itself, or else at SIGHUP only
	chilled  bool
	sets     []string  // of --set
	outcomes chan bool // of what was handed over: whether Benthos has made the stream
	hangups  chan os.Signal

	log      *slog.Logger
	gateways *websocketgateways.Gateways
	api      http.Handler // of Benthos, which has /metrics
	names    *metricnames.Names
	atStart  map[string]any // the fields with which the process has started

	seen    []byte // at the last look
	judged  []byte // the last that was the same at two looks
	handed  []byte // what Benthos is to run
	running []byte // the last that Benthos has made a stream of
	applied []byte // whose gateways there are
	before  []byte // whose there were before those of handed, if these are others
}

// newWatch returns a watch of the config at a path, which follows SIGHUP.
func newWatch(path string, c *cli.Context) (*watch, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file read error: %w", err)
	}
	w := &watch{
		path: path, streams: c.Command.Name == "streams", looks: c.Bool("watcher"), chilled: c.Bool("chilled"), sets: c.StringSlice("set"),
		outcomes: make(chan bool, 8), hangups: make(chan os.Signal, 1), names: metricnames.New(false),
		seen: text, judged: text, handed: text, running: text, applied: text,
	}
	w.atStart, _ = fieldsOf(text, w.sets) // what is no YAML does not start
	var config yaml.Node
	if config.Encode(w.atStart) == nil {
		w.names.Learn(&config)
	}
	// By default it ends a process. On Windows there is no such signal.
	signal.Notify(w.hangups, syscall.SIGHUP)
	return w, nil
}

// makeCopy makes the copy, under the same name, since the log shows it.
func (w *watch) makeCopy() error {
	dir, err := os.MkdirTemp("", "iotcast-watch-")
	if err != nil {
		return fmt.Errorf("run -w copies the config, to a directory that TMPDIR names: %w", err)
	}
	w.copy = filepath.Join(dir, filepath.Base(w.path))
	return w.handOver(w.handed)
}

func (w *watch) remove() {
	signal.Stop(w.hangups)
	if w.copy != "" {
		_ = os.RemoveAll(filepath.Dir(w.copy))
	}
}

func (w *watch) handOver(text []byte) error {
	if err := os.WriteFile(w.copy, text, 0o600); err != nil {
		return fmt.Errorf("writing the copy of the config: %w", err)
	}
	w.handed = text
	return nil
}

// start watches until stop.
func (w *watch) start(log *slog.Logger, gateways *websocketgateways.Gateways, api http.Handler) (stop func()) {
	w.log, w.gateways, w.api = log.With("file", w.path), gateways, api
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		if !w.looks {
			tick.Stop()
		}
		for {
			select {
			case <-quit:
				return
			case <-w.hangups:
				w.readAgain()
			case <-tick.C:
				for len(w.outcomes) > 0 {
					w.settle(<-w.outcomes)
				}
				w.look()
			}
		}
	}()
	return func() { close(quit); <-done }
}

// look judges a new config, once it is the same twice: it may be half written.
func (w *watch) look() {
	text, err := os.ReadFile(w.path)
	if err != nil { // it may be on its way back
		return
	}
	if !bytes.Equal(text, w.seen) {
		w.seen = text
		return
	}
	if !bytes.Equal(text, w.judged) {
		w.judged = text
		w.judge(text)
	}
}

// readAgain judges the config as it is now: whoever sends SIGHUP has written it.
func (w *watch) readAgain() {
	text, err := os.ReadFile(w.path)
	if err != nil {
		w.log.Error("SIGHUP: the config cannot be read, the old one runs on", "error", err)
		return
	}
	w.log.Info("SIGHUP: the config is read again", "changed", !bytes.Equal(text, w.applied))
	w.seen, w.judged = text, text
	w.judge(text)
}

// judge applies a new config if all of it can be: first the gateways, then, by handing it
// over, what it has for Benthos. It says what it has beside that.
func (w *watch) judge(text []byte) {
	fields, err := fieldsOf(text, w.sets)
	if err == nil {
		err = w.check(text, fields)
	}
	changed := false
	if err == nil {
		changed, err = w.changeGateways(text, fields)
	}
	if err != nil {
		w.log.Error("The changed config is refused, the old one runs on", "error", err)
		return
	}
	before := w.applied
	w.applied = text
	w.tellWhatWaits(fields)
	old, _ := fieldsOf(w.handed, w.sets)
	if w.copy == "" || len(differences("", forStream(old), forStream(fields))) == 0 {
		return
	}
	if w.before = nil; changed {
		w.before = before
	}
	if err := w.handOver(text); err != nil {
		w.log.Error("The changed config is not used", "error", err)
	}
}

// changeGateways makes the gateways those of a config, and reports whether there was
// something to change. With an error they are as they were.
func (w *watch) changeGateways(text []byte, fields map[string]any) (changed bool, err error) {
	old, _ := fieldsOf(w.applied, w.sets)
	changes := differences(gatewaysField, old[gatewaysField], fields[gatewaysField])
	if len(changes) == 0 {
		return false, w.missingRoutes(fields, w.gateways.Route)
	}
	written, err := yaml.Marshal(map[string]any{gatewaysField: fields[gatewaysField]})
	if err != nil {
		return false, err
	}
	change, err := w.gateways.Prepare(written)
	if err != nil {
		return false, err
	}
	if err := w.missingRoutes(fields, change.Route); err != nil {
		change.Discard()
		return false, err
	}
	change.Apply()
	w.log.Info("The gateways are changed, connections of the routes that stay are open still", "fields", strings.Join(changes, ", "))
	return true, nil
}

// tellWhatWaits names what has changed since the start and is not in force.
func (w *watch) tellWhatWaits(fields map[string]any) {
	waits := differences("", forStart(w.atStart), forStart(fields))
	stream := differences("", forStream(w.atStart), forStream(fields))
	if w.streams {
		waits = append(waits, stream...)
	}
	waits = append(waits, renamedNodes(w.atStart, fields)...)
	if len(waits) > 0 {
		w.log.Error("Fields changed that take effect at a restart only, the old ones stay in force", "fields", strings.Join(waits, ", "))
	}
	if !w.streams && !w.looks && len(stream) > 0 {
		w.log.Warn("The stream changed, too: that takes effect with run -w, or at a restart", "fields", strings.Join(stream, ", "))
	}
}

// settle puts the old config back where no stream could be made of the new one.
func (w *watch) settle(made bool) {
	switch {
	case made:
		w.running = w.handed
	case !bytes.Equal(w.handed, w.running):
		w.log.Error("No stream can be made of the changed config: the old one is put back")
		w.putGatewaysBack()
		if err := w.handOver(w.running); err != nil {
			w.log.Error("The old config cannot be put back", "error", err)
		}
	}
}

// putGatewaysBack is for when the config that has changed them is refused after all.
func (w *watch) putGatewaysBack() {
	if w.before == nil {
		return
	}
	fields, err := fieldsOf(w.before, w.sets)
	if err == nil {
		_, err = w.changeGateways(w.before, fields)
	}
	if err != nil {
		w.log.Error("The old gateways cannot be put back", "error", err)
		return
	}
	w.applied, w.before = w.before, nil
}

// check finds what Benthos would find only when the old stream has ended.
func (w *watch) check(text []byte, fields map[string]any) error {
	var all []error
	add := func(format string, args ...any) {
		all = append(all, fmt.Errorf("%s"+format, append([]any{w.path}, args...)...)) // as iotcast lint has it
	}
	schema, err := fieldSchema()
	if err != nil {
		return err
	}
	lints, err := Schema().NewStreamConfigLinter().LintYAML(text)
	if err != nil {
		return err
	}
	if !w.chilled {
		for _, f := range slices.Concat(schema.Misread(text, os.LookupEnv), configtext.Together(text)) {
			add("%v", f)
		}
		for _, lint := range lints {
			add("%v", lint.Error())
		}
	}
	if len(all) > 0 {
		return errors.Join(all...)
	}
	var config yaml.Node
	if err := config.Encode(fields); err != nil {
		return err
	}
	metrics := httptest.NewRecorder()
	w.api.ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	return w.names.Take(metrics.Body.Bytes(), &config)
}

// missingRoutes is about the outputs of the config's own stream.
func (w *watch) missingRoutes(fields map[string]any, route func(label, path string) error) error {
	if w.streams {
		return nil
	}
	return errors.Join(missingRoutes(forStream(fields), route)...)
}

// missingRoutes are the routes that outputs name and that there are not.
func missingRoutes(value any, route func(label, path string) error) (all []error) {
	switch value := value.(type) {
	case map[string]any:
		if output, ok := value["websocket_broadcast"].(map[string]any); ok {
			label, _ := output["gateway"].(string)
			path, _ := output["path"].(string)
			if err := route(label, path); err != nil && !strings.Contains(label+path, "${!") {
				all = append(all, fmt.Errorf("websocket_broadcast: %w", err))
			}
		}
		for _, below := range value {
			all = append(all, missingRoutes(below, route)...)
		}
	case []any:
		for _, below := range value {
			all = append(all, missingRoutes(below, route)...)
		}
	}
	return all
}

// release lets Benthos see that files are exchanged, by a link as in a ConfigMap of
// Kubernetes, or by a name. Benthos waits to be told that the old file is removed, and
// leaves each file open that it has read; the kernel tells once it is closed. That is
// when the garbage collector comes by, at most every two minutes.
func release(files func() []string) (stop func()) {
	seen := map[string]os.FileInfo{}
	changed := func() (some bool) {
		for _, file := range files() {
			info, err := os.Stat(file)
			if err != nil {
				continue
			}
			before, known := seen[file]
			some = some || known && !os.SameFile(before, info)
			seen[file] = info
		}
		return some
	}
	changed()
	return every(lookEvery, func() {
		if changed() {
			runtime.GC()
		}
	})
}

// every calls f again and again, until stop.
func every(interval time.Duration, f func()) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				f()
			}
		}
	}()
	return func() { close(quit); <-done }
}

// outcomes is a log handler that hears what became of a config that was handed over:
// Benthos tells nobody but its log.
type outcomes struct{ of func() *watch }

// Enabled implements slog.Handler.
func (outcomes) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (o outcomes) Handle(_ context.Context, r slog.Record) error {
	made := r.Message == "Updated main config"
	w := o.of()
	if w == nil || !made && !strings.HasPrefix(r.Message, "Failed to apply updated config") {
		return nil
	}
	select {
	case w.outcomes <- made:
	default: // the same is told again, once a second
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (o outcomes) WithAttrs([]slog.Attr) slog.Handler { return o }

// WithGroup implements slog.Handler.
func (o outcomes) WithGroup(string) slog.Handler { return o }
