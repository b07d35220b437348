// Package reload keeps a value that is made from files, such as a certificate,
// up to date with them.
package reload

import (
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// checkEvery is how seldom the files are looked at, however often the value is
// asked for.
const checkEvery = time.Second

// maxBytes bounds a file: a path may be a mistake.
const maxBytes = 1 << 20

// Files is a value made from the contents of files. It is made again when one
// of them has changed. It has no goroutine: it looks when it is asked.
type Files[T any] struct {
	paths []string
	parse func(contents [][]byte) (T, error)
	log   *slog.Logger

	mu      sync.Mutex
	value   T
	loaded  bool
	seen    []version
	checked time.Time
}

// version tells two states of a file apart.
type version struct {
	changed time.Time
	size    int64
}

// New returns a value that parse makes from the contents of the files, in the
// order of paths. It reads nothing yet.
func New[T any](log *slog.Logger, parse func(contents [][]byte) (T, error), paths ...string) *Files[T] {
	return &Files[T]{paths: paths, parse: parse, log: log}
}

// Get returns the value as the files are now, give or take a second. Files that
// turn bad after they were good once are reported in the log, and the value
// stays as it was. The error is for files that never were good; it names the
// file that cannot be read.
func (f *Files[T]) Get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if f.loaded && now.Sub(f.checked) < checkEvery {
		return f.value, nil
	}
	f.checked = now
	seen := make([]version, len(f.paths))
	changed := !f.loaded
	for i, path := range f.paths {
		if s, err := os.Stat(path); err == nil {
			seen[i] = version{s.ModTime(), s.Size()}
		}
		changed = changed || seen[i] != f.seen[i]
	}
	if !changed {
		return f.value, nil
	}
	f.seen = seen
	value, err := f.load()
	switch {
	case err == nil:
		f.value, f.loaded = value, true
	case f.loaded:
		f.log.Error("File changed and cannot be used, what it held before stays in use", "files", f.paths, "error", err)
	default:
		return value, err
	}
	return f.value, nil
}

func (f *Files[T]) load() (value T, err error) {
	contents := make([][]byte, len(f.paths))
	for i, path := range f.paths {
		if contents[i], err = read(path); err != nil {
			return value, err
		}
	}
	return f.parse(contents)
}

func read(path string) ([]byte, error) {
	s, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if s.Size() > maxBytes {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d that make sense", path, s.Size(), maxBytes)
	}
	return os.ReadFile(path)
}
