package plugins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/configtext"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/metricnames"
)

// lookEvery is how often a watched config is read.
const lookEvery = 500 * time.Millisecond

// watch stands between a config that changes and the watcher of Benthos, which runs
// on a copy of it: run -w. By itself Benthos ends the stream before it makes the new
// one, and leaves none if that cannot be made; it takes over no field but those of
// the stream, and says that it has updated all.
type watch struct {
	path     string // as the user named it
	copy     string // what Benthos reads, if it does so again
	chilled  bool
	outcomes chan bool // of what was handed over: whether Benthos has made the stream

	log      *slog.Logger
	gateways *gateway.Set
	api      http.Handler // of Benthos, which has /metrics
	names    *metricnames.Names
	atStart  map[string]any // the fields with which the process has started

	seen    []byte // at the last look
	judged  []byte // the last that was the same at two looks
	handed  []byte // what Benthos is to run
	running []byte // the last that Benthos has made a stream of
}

// newWatch watches without a copy: it says what changed, and changes nothing. That is
// for the root config of streams mode, which Benthos does not look at again.
func newWatch(path string, chilled bool) (*watch, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration file read error: %w", err)
	}
	fields, _ := fieldsOf(text) // what is no YAML does not start
	names := metricnames.New(false)
	var config yaml.Node
	if config.Encode(fields) == nil {
		names.Learn(&config)
	}
	return &watch{
		path: path, chilled: chilled, outcomes: make(chan bool, 8), names: names,
		atStart: fields, seen: text, judged: text, handed: text, running: text,
	}, nil
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
func (w *watch) start(log *slog.Logger, gateways *gateway.Set, api http.Handler) (stop func()) {
	w.log, w.gateways, w.api = log.With("file", w.path), gateways, api
	return every(lookEvery, func() {
		for len(w.outcomes) > 0 {
			w.settle(<-w.outcomes)
		}
		w.look()
	})
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

// judge hands a new config over if it has something for Benthos that can replace
// what runs, and says what it has beside that.
func (w *watch) judge(text []byte) {
	fields, err := fieldsOf(text)
	if err == nil && w.copy != "" {
		err = w.check(text, fields)
	}
	if err != nil {
		w.log.Error("The changed config is refused, the old one runs on", "error", err)
		return
	}
	changed := differences("", forStart(w.atStart), forStart(fields))
	if w.copy == "" {
		changed = differences("", w.atStart, fields)
	}
	if len(changed) > 0 {
		w.log.Error("Fields changed that take effect at a restart only, the old ones stay in force", "fields", strings.Join(changed, ", "))
	}
	old, _ := fieldsOf(w.handed)
	if w.copy == "" || len(differences("", forStream(old), forStream(fields))) == 0 {
		return
	}
	if err := w.handOver(text); err != nil {
		w.log.Error("The changed config is not used", "error", err)
	}
}

// settle puts the old config back where no stream could be made of the new one.
func (w *watch) settle(made bool) {
	switch {
	case made:
		w.running = w.handed
	case !bytes.Equal(w.handed, w.running):
		w.log.Error("No stream can be made of the changed config: the old one is put back")
		if err := w.handOver(w.running); err != nil {
			w.log.Error("The old config cannot be put back", "error", err)
		}
	}
}

// check finds what Benthos would find only when the old stream has ended.
func (w *watch) check(text []byte, fields map[string]any) error {
	var all []error
	if schema, err := fieldSchema(); err != nil {
		return err
	} else if !w.chilled {
		for _, f := range schema.Misread(text, os.LookupEnv) {
			all = append(all, fmt.Errorf("%v", f))
		}
	}
	lints, err := Schema().NewStreamConfigLinter().LintYAML(text)
	if err != nil {
		return err
	}
	for _, lint := range lints {
		if !w.chilled {
			all = append(all, errors.New(lint.Error()))
		}
	}
	if all = append(all, w.missingRoutes(forStream(fields))...); len(all) > 0 {
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

// missingRoutes are the routes that outputs name and the running gateways do not have.
func (w *watch) missingRoutes(value any) (all []error) {
	switch value := value.(type) {
	case map[string]any:
		if output, ok := value["websocket_broadcast"].(map[string]any); ok {
			label, _ := output["gateway"].(string)
			path, _ := output["path"].(string)
			if _, err := w.gateways.Route(label, path); err != nil && !strings.Contains(label+path, "${!") {
				all = append(all, fmt.Errorf("websocket_broadcast: %w, which take effect at a restart only", err))
			}
		}
		for _, below := range value {
			all = append(all, w.missingRoutes(below)...)
		}
	case []any:
		for _, below := range value {
			all = append(all, w.missingRoutes(below)...)
		}
	}
	return all
}

// fieldsOf are the top-level fields of a config.
func fieldsOf(text []byte) (fields map[string]any, err error) {
	text, _ = configtext.Expand(text, func(v configtext.Variable) (string, error) { return v.Value(os.LookupEnv) })
	if err := yaml.Unmarshal(text, &fields); err != nil {
		return nil, errors.New("it is no YAML: iotcast lint says where") // the error may show a secret
	}
	return fields, nil
}

// forStream are the fields that Benthos takes over when they change, forStart the others.
func forStream(fields map[string]any) any { return selected(fields, true) }
func forStart(fields map[string]any) any  { return selected(fields, false) }

func selected(fields map[string]any, ofStream bool) map[string]any {
	some := map[string]any{}
	for name, value := range fields {
		stream := slices.Contains([]string{"input", "buffer", "pipeline", "output"}, name) || strings.HasSuffix(name, "_resources")
		if stream == ofStream && name != "tests" {
			some[name] = value
		}
	}
	return some
}

// differences are the paths of what differs, without the values.
func differences(path string, a, b any) (all []string) {
	if reflect.DeepEqual(a, b) {
		return nil
	}
	oldMap, isMap := a.(map[string]any)
	newMap, areMaps := b.(map[string]any)
	if isMap && areMaps {
		names := slices.Collect(maps.Keys(oldMap))
		for name := range newMap {
			if _, ok := oldMap[name]; !ok {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			all = append(all, differences(strings.TrimPrefix(path+"."+name, "."), oldMap[name], newMap[name])...)
		}
		return all
	}
	oldList, isList := a.([]any)
	newList, areLists := b.([]any)
	if isList && areLists && len(oldList) == len(newList) {
		for i := range oldList {
			all = append(all, differences(fmt.Sprintf("%s.%d", path, i), oldList[i], newList[i])...)
		}
		return all
	}
	return []string{path}
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
