package triggers_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/triggers"
)

// process is a process with streams, which refuses configs that contain
// "refused".
type process struct {
	streams map[string]string
	down    bool
	silent  bool // never connects
	ended   []string
}

var errDown = errors.New("the process does not answer")

func (p *process) refuse(config []byte) error {
	switch {
	case p.down:
		return errDown
	case strings.Contains(string(config), "refused"):
		return errors.New("config refused")
	}
	return nil
}

func (p *process) Create(_ context.Context, id string, config []byte) error {
	if err := p.refuse(config); err != nil {
		return err
	}
	if _, ok := p.streams[id]; ok {
		return errors.New("exists")
	}
	p.streams[id] = string(config)
	return nil
}

func (p *process) Update(_ context.Context, id string, config []byte) error {
	if err := p.refuse(config); err != nil {
		return err
	}
	p.streams[id] = string(config)
	return nil
}

func (p *process) Check(_ context.Context, config []byte) error { return p.refuse(config) }

func (p *process) Delete(_ context.Context, id string) error {
	if p.down {
		return errDown
	}
	p.ended = append(p.ended, p.streams[id])
	delete(p.streams, id)
	return nil
}

func (p *process) Running(context.Context) (map[string]bool, error) {
	if p.down {
		return nil, errDown
	}
	running := map[string]bool{}
	for id := range p.streams {
		running[id] = true
	}
	return running, nil
}

func (p *process) Connected(context.Context, string) error {
	if p.silent {
		return errors.New("connection refused")
	}
	return nil
}

// lab is a manager with its process and its directory.
type lab struct {
	*triggers.Manager
	*process
	t        *testing.T
	warnings []string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, process: &process{streams: map[string]string{}}}
	dir, err := triggers.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l.Manager = &triggers.Manager{Dir: dir, Streams: l.process, Warn: func(err error) { l.warnings = append(l.warnings, err.Error()) }}
	return l
}

func (l *lab) create(t triggers.Trigger) triggers.Trigger {
	l.t.Helper()
	made, err := l.Manager.Create(l.t.Context(), t, triggers.Template, triggers.Connection{})
	if err != nil {
		l.t.Fatal(err)
	}
	return made
}

func (l *lab) find(name string) triggers.Stored {
	l.t.Helper()
	s, err := l.Dir.Find(name)
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// expect compares what is stored and what runs.
func (l *lab) expect(files, streams []string) {
	l.t.Helper()
	entries, err := os.ReadDir(string(l.Dir))
	if err != nil {
		l.t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, files) {
		l.t.Errorf("files %v, want %v", names, files)
	}
	if running := slices.Sorted(maps.Keys(l.streams)); !slices.Equal(running, streams) {
		l.t.Errorf("streams %v, want %v", running, streams)
	}
}

func TestLifeOfATrigger(t *testing.T) {
	l := newLab(t)
	made := l.create(valid())
	if made.ID != "my-trigger" || made.CreatedAt == "" {
		t.Errorf("made %+v", made)
	}
	l.expect([]string{"my-trigger.yaml"}, []string{"my-trigger"})

	stored := l.find("my-trigger")
	if !reflect.DeepEqual(stored.Trigger, made) {
		t.Errorf("stored %+v, made %+v", stored.Trigger, made)
	}

	if _, err := l.Pause(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	l.expect([]string{"my-trigger.yaml.paused"}, []string{})
	stored = l.find("my-trigger")
	if stored.Status != triggers.Paused {
		t.Error(stored.Status)
	}

	// A change while it is paused takes effect when it is resumed; the ID stays.
	changed := stored.Trigger
	changed.Name, changed.Rule.Path = "another-name", "/other"
	if _, err := l.Manager.Update(t.Context(), stored, changed, triggers.Connection{}); err != nil {
		t.Fatal(err)
	}
	l.expect([]string{"my-trigger.yaml.paused"}, []string{})
	if _, err := l.Resume(t.Context(), l.find("another-name")); err != nil {
		t.Fatal(err)
	}
	l.expect([]string{"my-trigger.yaml"}, []string{"my-trigger"})
	if !strings.Contains(l.streams["my-trigger"], "path: /other") {
		t.Error(l.streams["my-trigger"])
	}
	if got := l.find("my-trigger"); got.CreatedAt != made.CreatedAt || got.Name != "another-name" {
		t.Errorf("%+v", got.Trigger)
	}

	// The name is free again, and the ID is not.
	l.create(valid())
	l.expect([]string{"my-trigger-2.yaml", "my-trigger.yaml"}, []string{"my-trigger", "my-trigger-2"})
	if got := l.find("my-trigger"); got.ID != "my-trigger-2" {
		t.Errorf("a name comes before an ID: %+v", got.Trigger)
	}

	if err := l.Manager.Delete(t.Context(), l.find("my-trigger")); err != nil {
		t.Fatal(err)
	}
	l.expect([]string{"my-trigger.yaml"}, []string{"my-trigger"})
	if len(l.warnings) > 0 {
		t.Error(l.warnings)
	}
}

// TestDeleteForgetsTheSession: the last stream of a trigger connects with a
// clean session, and hands on nothing.
func TestDeleteForgetsTheSession(t *testing.T) {
	l := newLab(t)
	l.create(valid())
	if err := l.Manager.Delete(t.Context(), l.find("my-trigger")); err != nil {
		t.Fatal(err)
	}
	last := l.ended[len(l.ended)-1]
	for _, want := range []string{"client_id: iotcast-my-trigger", "clean_session: true", "drop: {}"} {
		if !strings.Contains(last, want) {
			t.Errorf("no %s in:\n%s", want, last)
		}
	}
	if strings.Contains(last, "websocket_broadcast") || len(l.ended) != 2 {
		t.Errorf("%d streams have ended, the last is:\n%s", len(l.ended), last)
	}
	l.expect([]string{}, []string{})

	l.create(valid())
	l.silent = true
	if err := l.Manager.Delete(t.Context(), l.find("my-trigger")); err != nil {
		t.Fatal(err)
	}
	l.expect([]string{}, []string{})
	if len(l.warnings) != 1 || !strings.Contains(l.warnings[0], `the session of client ID "iotcast-my-trigger"`) {
		t.Error(l.warnings)
	}
}

// TestRefusedChangesLeaveNothing: neither in the directory nor in the process.
func TestRefusedChangesLeaveNothing(t *testing.T) {
	l := newLab(t)
	bad := valid()
	bad.Rule.Path = "/refused"
	for _, status := range []triggers.Status{triggers.Active, triggers.Paused} {
		bad.Status = status
		if _, err := l.Manager.Create(t.Context(), bad, triggers.Template, triggers.Connection{}); err == nil {
			t.Error("created")
		}
		l.expect([]string{}, []string{})
	}

	l.create(valid())
	before := l.find("my-trigger")
	changed := before.Trigger
	changed.Rule.Path = "/refused"
	if _, err := l.Manager.Update(t.Context(), before, changed, triggers.Connection{}); err == nil {
		t.Error("updated")
	}
	l.expect([]string{"my-trigger.yaml"}, []string{"my-trigger"})
	if after := l.find("my-trigger"); after.Rule.Path != "/telemetry" {
		t.Errorf("%+v", after.Trigger)
	}

	l.down = true
	for what, err := range map[string]error{
		"create": second(l.Manager.Create(t.Context(), device, triggers.Template, triggers.Connection{})),
		"update": second(l.Manager.Update(t.Context(), before, before.Trigger, triggers.Connection{})),
		"pause":  second(l.Pause(t.Context(), before)),
		"resume": second(l.Resume(t.Context(), before)),
		"delete": l.Manager.Delete(t.Context(), before),
	} {
		if !errors.Is(err, errDown) {
			t.Errorf("%s: %v", what, err)
		}
	}
	l.expect([]string{"my-trigger.yaml"}, []string{"my-trigger"})
}

func second[T any](_ T, err error) error { return err }

// TestRepeatedCommandsMend: what a command that was cut off has left apart.
func TestRepeatedCommandsMend(t *testing.T) {
	l := newLab(t)
	l.create(valid())
	delete(l.streams, "my-trigger")
	l.Warnings(t.Context(), []triggers.Trigger{l.find("my-trigger").Trigger})
	if len(l.warnings) != 1 || !strings.Contains(l.warnings[0], "ACTIVE, but its stream does not run") {
		t.Error(l.warnings)
	}
	if _, err := l.Manager.Update(t.Context(), l.find("my-trigger"), l.find("my-trigger").Trigger, triggers.Connection{}); err != nil {
		t.Fatal(err)
	}
	l.expect([]string{"my-trigger.yaml"}, []string{"my-trigger"})

	delete(l.streams, "my-trigger")
	if _, err := l.Resume(t.Context(), l.find("my-trigger")); err != nil {
		t.Fatal(err)
	}
	l.expect([]string{"my-trigger.yaml"}, []string{"my-trigger"})

	if _, err := l.Pause(t.Context(), l.find("my-trigger")); err != nil {
		t.Fatal(err)
	}
	l.streams["my-trigger"] = "left"
	l.warnings = nil
	l.Warnings(t.Context(), []triggers.Trigger{l.find("my-trigger").Trigger})
	if len(l.warnings) != 1 || !strings.Contains(l.warnings[0], "PAUSED, but its stream runs") {
		t.Error(l.warnings)
	}
	if _, err := l.Pause(t.Context(), l.find("my-trigger")); err != nil {
		t.Fatal(err)
	}
	l.expect([]string{"my-trigger.yaml.paused"}, []string{})
}

// TestUpdateKeepsWhatIsNotItsOwn: and tells the broker of topics that have gone.
func TestUpdateKeepsWhatIsNotItsOwn(t *testing.T) {
	l := newLab(t)
	if _, err := l.Manager.Create(t.Context(), device, []byte(own), triggers.Connection{}); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"$devices/+/state", "", device.Rule.Topic} {
		stored := l.find(device.Name)
		changed := stored.Trigger
		changed.Rule.Topic, changed.Labels = topic, nil
		if _, err := l.Manager.Update(t.Context(), stored, changed, triggers.Connection{}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(string(l.Dir), device.ID+".yaml.paused"))
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(strings.Trim(topic, "$"), "/+/")
		golden(t, "updated_"+strings.ReplaceAll(name, "/", "-")+".yaml", text)
	}
}

func TestTaken(t *testing.T) {
	l := newLab(t)
	l.create(valid())
	if err := os.WriteFile(filepath.Join(string(l.Dir), "other.yml"), []byte("input: {}"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := valid()
	again.ID = "fresh"
	taken := valid()
	taken.Name, taken.ID = "free", "other"
	for want, tt := range map[string]triggers.Trigger{`name "my-trigger" is taken`: again, `ID "other" is taken`: taken} {
		if _, err := l.Manager.Create(t.Context(), tt, triggers.Template, triggers.Connection{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	free := valid()
	free.Name = "other" // as a name it is free, as an ID it is not
	if made := l.create(free); made.ID != "other-2" {
		t.Errorf("ID %q", made.ID)
	}
	stored := l.find("other")
	stored.Name = "my-trigger"
	if _, err := l.Manager.Update(t.Context(), l.find("other"), stored.Trigger, triggers.Connection{}); err == nil {
		t.Error("a name was given twice")
	}
}

// TestOtherFilesInTheDirectory are none of its business, unless they claim to be.
func TestOtherFilesInTheDirectory(t *testing.T) {
	l := newLab(t)
	l.create(valid())
	for name, text := range map[string]string{
		"plain.yaml":     "# Comment\ninput: {}\n",
		"empty.yaml":     "",
		"commented.yaml": "# a\n# ---\ninput: {}\n# ---\n",
		".x.yaml.123":    "rubbish",
		"bad.yaml":       "# a\n# ---\n# nonsense: 1\n# ---\ninput: {}\n",
		"worse.yaml":     "# a\n# ---\n# name: abc\n# ---\ninput: [\n",
		"many.yaml":      "# a\n# ---\n# name: abc\n# ---\ninput: { iot_mqtt: { topics: [ a, b ] } }\noutput: { websocket_broadcast: {} }\n",
		"size.yaml":      "# a\n# ---\n# name: abc\n# ---\ninput: { iot_mqtt: { batching: { count: x } } }\noutput: { websocket_broadcast: {} }\n",
	} {
		if err := os.WriteFile(filepath.Join(string(l.Dir), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(string(l.Dir), "sub.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	all, bad, err := l.Dir.List()
	if err != nil || len(all) != 1 || len(bad) != 4 {
		t.Errorf("%d triggers, bad %v, %v", len(all), bad, err)
	}
	for _, err := range bad {
		if !strings.Contains(err.Error(), ".yaml: ") {
			t.Errorf("no file is named: %v", err)
		}
	}
	if _, err := l.Dir.Find("abc"); !errors.Is(err, triggers.ErrNotFound) || !strings.Contains(err.Error(), "many.yaml") {
		t.Error(err)
	}
}

func TestOpenDir(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if _, err := triggers.OpenDir(file); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Error(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := triggers.OpenDir(file); err == nil || !strings.Contains(err.Error(), "is no directory") {
		t.Error(err)
	}
	if _, err := triggers.Dir(t.TempDir()).Find("x"); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Error(err)
	}
}

// TestStoredDescription: what a user may write survives in comments.
func TestStoredDescription(t *testing.T) {
	l := newLab(t)
	for i, text := range []string{"two\n\nlines\n", " # ---", "# ---\n# ---\n", "a: b # c", "\ttab", "true", "~", "'", "\u2028\x00\a"} {
		tt := valid()
		tt.Name, tt.Description = "trigger-"+string(rune('a'+i)), text
		tt.Rule.Source, tt.Rule.BrokerID, tt.Rule.RegistryID = iotcore.Broker, "007", ""
		made := l.create(tt)
		if got := l.find(tt.Name); !reflect.DeepEqual(got.Trigger, made) {
			t.Errorf("%q: stored %+v, made %+v", text, got.Trigger, made)
		}
	}
}
