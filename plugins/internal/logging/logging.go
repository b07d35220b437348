// Package logging lets packages that know only log/slog write to Benthos' log.
package logging

import (
	"context"
	"log/slog"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// New returns a logger that writes to l. Benthos filters by level itself.
func New(l *service.Logger) *slog.Logger { return slog.New(handler{logger: l}) }

type handler struct {
	logger *service.Logger
	group  string
}

// Enabled implements slog.Handler.
func (handler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h handler) Handle(_ context.Context, r slog.Record) error {
	l := h.logger
	if r.NumAttrs() > 0 { // all in one With: each makes a map
		fields := make([]any, 0, 2*r.NumAttrs())
		r.Attrs(func(a slog.Attr) bool {
			fields = append(fields, h.group+a.Key, a.Value.String())
			return true
		})
		l = l.With(fields...)
	}
	switch {
	case r.Level >= slog.LevelError:
		l.Error(r.Message)
	case r.Level >= slog.LevelWarn:
		l.Warn(r.Message)
	case r.Level >= slog.LevelInfo:
		l.Info(r.Message)
	default:
		l.Debug(r.Message)
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.logger = h.logger.With(h.group+a.Key, a.Value.String())
	}
	return h
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler {
	h.group += name + "."
	return h
}
