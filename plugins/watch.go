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

	applied any // the field websocket_gateways that is in force
	after   any // that is to be in force once Benthos has made the stream of handed; nil: it is already
	back    any // or if it cannot; nil: what is in force
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
		seen: text, judged: text, handed: text, running: text,
	}
	w.atStart, _ = fieldsOf(text, w.sets) // what is no YAML does not start
	w.applied = w.atStart[gatewaysField]
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
	w.log.Info("SIGHUP: the config is read again", "changed", !bytes.Equal(text, w.judged))
	w.seen, w.judged = text, text
	w.judge(text)
}

// judge applies a new config if all of it can be, and says what of it is for a restart.
func (w *watch) judge(text []byte) {
	fields, err := fieldsOf(text, w.sets)
	if err == nil {
		err = w.check(text, fields)
	}
	if err == nil {
		err = w.apply(text, fields)
	}
	if err != nil {
		w.log.Error("The changed config is refused, the old one runs on", "error", err)
		return
	}
	w.tellWhatWaits(fields)
}

// apply changes the gateways, and hands over what the config has for Benthos, if that is
// something else than before. A stream that is replaced finds its old routes until then,
// and the new one its own; if that cannot be made, nothing is lost.
func (w *watch) apply(text []byte, fields map[string]any) error {
	gateways := fields[gatewaysField]
	old, _ := fieldsOf(w.handed, w.sets)
	if w.copy == "" || len(differences("", forStream(old), forStream(fields))) == 0 {
		w.after, w.back = nil, nil
		return w.changeGateways(gateways, fields)
	}
	change, err := w.prepare(gateways, fields)
	if err != nil {
		return err
	}
	before := w.applied
	if change != nil {
		change.Discard()
		if w.changeGateways(both(gateways, w.applied), nil) == nil {
			w.after = gateways
		} else if err := w.changeGateways(gateways, nil); err != nil { // as where an address passes from one to another
			return err
		}
	}
	if w.back == nil {
		w.back = before
	}
	return w.handOver(text)
}

// prepare is what a field makes of the gateways, nil if they are so. The outputs of the
// fields must find their routes.
func (w *watch) prepare(gateways any, fields map[string]any) (change *websocketgateways.Change, err error) {
	route := w.gateways.Route
	if len(differences("", w.applied, gateways)) > 0 {
		written, err := yaml.Marshal(map[string]any{gatewaysField: gateways})
		if err != nil {
			return nil, err
		}
		if change, err = w.gateways.Prepare(written); err != nil {
			return nil, err
		}
		route = change.Route
	}
	if w.streams {
		return change, nil
	}
	if err := errors.Join(missingRoutes(forStream(fields), route)...); err != nil {
		if change != nil {
			change.Discard()
		}
		return nil, err
	}
	return change, nil
}

// changeGateways makes the gateways those of a field. With an error they are as they were.
func (w *watch) changeGateways(gateways any, fields map[string]any) error {
	change, err := w.prepare(gateways, fields)
	if err != nil || change == nil {
		return err
	}
	change.Apply()
	w.log.Info("The gateways are changed, connections of the routes that stay are open still",
		"fields", strings.Join(differences(gatewaysField, w.applied, gateways), ", "))
	w.applied = gateways
	return nil
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

// settle ends what apply has begun, or puts the old config back where no stream could be
// made of the new one.
func (w *watch) settle(made bool) {
	gateways := w.after
	switch {
	case made:
		w.running = w.handed
	case bytes.Equal(w.handed, w.running):
		return
	default:
		w.log.Error("No stream can be made of the changed config: the old one is put back")
		gateways = w.back
		if err := w.handOver(w.running); err != nil {
			w.log.Error("The old config cannot be put back", "error", err)
		}
	}
	w.after, w.back = nil, nil
	if gateways == nil {
		return
	}
	if err := w.changeGateways(gateways, nil); err != nil {
		w.log.Error("The gateways cannot be changed any more", "error", err)
	}
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
