package iotmqtt_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// logBook is a slog.Handler that remembers what was logged.
type logBook struct {
	mu    *sync.Mutex
	lines *[]string
	attrs string
}

func newLogBook() *logBook { return &logBook{mu: new(sync.Mutex), lines: new([]string)} }

func (*logBook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logBook) WithGroup(string) slog.Handler          { return l }

func (l *logBook) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *l
	for _, a := range attrs {
		with.attrs += " " + a.String()
	}
	return &with
}

func (l *logBook) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.lines = append(*l.lines, r.Message+l.attrs)
	return nil
}

func (l *logBook) waitFor(t *testing.T, text string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("waiting for %q in\n%s", text, strings.Join(*l.lines, "\n"))
		}
	}()
	eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return strings.Contains(strings.Join(*l.lines, "\n"), text)
	})
}

// count is how many lines hold a text.
func (l *logBook) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range *l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}
