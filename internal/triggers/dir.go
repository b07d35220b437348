package triggers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Dir is a streams directory: the one from which `iotcast streams` loads its
// streams when it starts. An active trigger is a file ID.yaml in it, a paused
// one ID.yaml.paused, which Benthos does not load.
type Dir string

const (
	extension = ".yaml"
	pausedExt = extension + ".paused"
)

// Stored is a trigger with its file.
type Stored struct {
	Trigger
	stream *stream
	text   []byte // of the file
}

// ErrNotFound says that there is no such trigger.
var ErrNotFound = errors.New("there is no such trigger")

// OpenDir checks that there is a directory, since a new one would be the wrong
// one: the process that runs would not load it.
func OpenDir(path string) (Dir, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("the streams directory %s does not exist", path)
	case err != nil:
		return "", fmt.Errorf("looking for the streams directory: %w", err)
	case !info.IsDir():
		return "", fmt.Errorf("the streams directory %s is no directory", path)
	}
	return Dir(path), nil
}

func (d Dir) file(id string, s Status) string {
	if s == Paused {
		return filepath.Join(string(d), id+pausedExt)
	}
	return filepath.Join(string(d), id+extension)
}

// Has reports whether a file is there for the ID, of a trigger or of any other
// stream.
func (d Dir) Has(id string) bool {
	for _, name := range []string{id + extension, id + ".yml", id + pausedExt} {
		if _, err := os.Lstat(filepath.Join(string(d), name)); err == nil {
			return true
		}
	}
	return false
}

// List reads all triggers, sorted by name. Other streams are none of its
// business; bad are triggers that cannot be read.
func (d Dir) List() (all []Stored, bad []error, err error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the streams directory: %w", err)
	}
	for _, e := range entries {
		status := Active
		id, ok := strings.CutSuffix(e.Name(), extension)
		if !ok {
			status = Paused
			id, ok = strings.CutSuffix(e.Name(), pausedExt)
		}
		if !ok || e.IsDir() {
			continue
		}
		path := d.file(id, status)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another command was faster
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		t, s, ok, err := parseFile(text)
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", path, err))
		}
		if !ok || err != nil {
			continue
		}
		t.ID, t.Status = id, status // as Benthos sees it, should the file have been renamed
		all = append(all, Stored{Trigger: t, stream: s, text: text})
	}
	slices.SortFunc(all, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) })
	return all, bad, nil
}

// Find returns the trigger with a name, or else with an ID.
func (d Dir) Find(nameOrID string) (Stored, error) {
	all, bad, err := d.List()
	if err != nil {
		return Stored{}, err
	}
	for _, is := range []func(Stored) bool{
		func(t Stored) bool { return t.Name == nameOrID },
		func(t Stored) bool { return t.ID == nameOrID },
	} {
		if i := slices.IndexFunc(all, is); i >= 0 {
			return all[i], nil
		}
	}
	if len(bad) > 0 {
		return Stored{}, fmt.Errorf("%q: %w among those that could be read: %w", nameOrID, ErrNotFound, errors.Join(bad...))
	}
	names := make([]string, len(all))
	for i, t := range all {
		names[i] = fmt.Sprintf("%q", t.Name)
	}
	switch len(names) {
	case 0:
		return Stored{}, fmt.Errorf("%q: %w: there is none in %s", nameOrID, ErrNotFound, string(d))
	default:
		return Stored{}, fmt.Errorf("%q: %w: in %s there are %s", nameOrID, ErrNotFound, string(d), strings.Join(names, ", "))
	}
}

// staged is a file that is written and synced under a name that Benthos does not
// load, so that giving it its own name, which the file system does at once, is
// all that is left to do.
type staged struct {
	dir  Dir
	path string
}

func (d Dir) stage(id string, text []byte) (*staged, error) {
	f, err := os.CreateTemp(string(d), "."+id+extension+".*")
	if err != nil {
		return nil, fmt.Errorf("writing to the streams directory: %w", err)
	}
	s := &staged{dir: d, path: f.Name()}
	_, err = f.Write(text)
	// Another user may run iotcast; secrets belong into its environment.
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		s.discard()
		return nil, fmt.Errorf("writing to the streams directory: %w", err)
	}
	return s, nil
}

func (s *staged) commit(id string, status Status) error {
	if err := os.Rename(s.path, s.dir.file(id, status)); err != nil {
		return fmt.Errorf("writing to the streams directory: %w", err)
	}
	return s.dir.sync()
}

// discard removes what has not been committed.
func (s *staged) discard() { _ = os.Remove(s.path) }

func (d Dir) setStatus(id string, from, to Status) error {
	if err := os.Rename(d.file(id, from), d.file(id, to)); err != nil {
		return fmt.Errorf("writing to the streams directory: %w", err)
	}
	return d.sync()
}

func (d Dir) remove(id string, status Status) error {
	if err := os.Remove(d.file(id, status)); err != nil {
		return fmt.Errorf("removing from the streams directory: %w", err)
	}
	return d.sync()
}

// sync makes what was renamed or removed outlive a power failure.
func (d Dir) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("syncing the streams directory: %w", err)
	}
	return nil
}
