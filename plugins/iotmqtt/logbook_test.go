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
}

func newLogBook() *logBook { return &logBook{new(sync.Mutex), new([]string)} }

func (*logBook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logBook) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l *logBook) WithGroup(string) slog.Handler          { return l }

func (l *logBook) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.lines = append(*l.lines, r.Message)
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
