package reload_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/iotcast/iotcast/internal/reload"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func join(contents [][]byte) (string, error) {
	s := string(bytes.Join(contents, []byte("+")))
	if strings.Contains(s, "bad") {
		return "", errors.New("bad content")
	}
	return s, nil
}

// TestChanges: the value follows the files, and outlives bad ones.
func TestChanges(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) { // for the clock
		f := reload.New(slog.New(slog.NewTextHandler(&log, nil)), join, a, b)
		expect := func(want string) {
			t.Helper()
			if got, err := f.Get(); got != want || err != nil {
				t.Errorf("%q %v, not %q", got, err, want)
			}
		}
		if _, err := f.Get(); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), a) {
			t.Errorf("absent: %v", err)
		}
		write(t, a, "1")
		write(t, b, "2")
		expect("1+2")

		write(t, b, "three")
		expect("1+2") // no more than one look a second
		time.Sleep(time.Second)
		expect("1+three")

		write(t, a, "bad")
		time.Sleep(time.Second)
		expect("1+three")
		time.Sleep(time.Second)
		expect("1+three")
		if n := strings.Count(log.String(), "bad content"); n != 1 {
			t.Errorf("%d reports of one bad file:\n%s", n, log.String())
		}
		if err := os.Remove(a); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		expect("1+three")
		write(t, a, "four")
		time.Sleep(time.Second)
		expect("four+three")
	})
}

// TestTooLarge: a wrong path does not fill the memory.
func TestTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large")
	write(t, path, strings.Repeat("x", 1<<20+1))
	if _, err := reload.New(slog.Default(), join, path).Get(); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}
