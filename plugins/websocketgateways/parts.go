package websocketgateways

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/gateway"
)

// parts are what runs for the gateways: verifiers of tokens, certificates and the
// processors of handlers. Each is known by where it stands in the configuration and what
// stands there: one that is wanted again as it was goes on, with all that it knows.
type parts struct {
	log   *slog.Logger
	place string
	old   map[string]*part // in use by the configuration before
	made  map[string]*part // and by this one
}

type part struct {
	value any
	close func(context.Context) // nil: there is nothing to close
}

func newParts(old map[string]*part, log *slog.Logger) *parts {
	return &parts{log: log, old: old, made: make(map[string]*part)}
}

// within is for what stands below a gateway or a route.
func (p *parts) within(name string) *parts {
	below := *p
	below.place += name + "\x00"
	return &below
}

// want returns the part that a field describes: the one that is there, or else what f
// makes of it.
func want[T any](p *parts, conf *service.ParsedConfig, field string, f func() (T, func(context.Context), error)) (value T, err error) {
	var written any
	if conf.Contains(field) {
		if written, err = conf.FieldAny(field); err != nil {
			return value, err
		}
	}
	text, err := yaml.Marshal(written)
	if err != nil {
		return value, err
	}
	key := strings.Join([]string{p.place, field, string(text)}, "\x00")
	if there, ok := p.old[key]; ok {
		p.made[key] = there
		return there.value.(T), nil
	}
	value, closing, err := f()
	if err == nil {
		p.made[key] = &part{value, closing}
	}
	return value, err
}

// tokens begins to verify tokens, where the field has a key.
func (p *parts) tokens(conf *service.ParsedConfig) (*gateway.Tokens, error) {
	return want(p, conf, fieldTokens, func() (*gateway.Tokens, func(context.Context), error) {
		t, err := parseTokens(conf)
		if err != nil || t == nil {
			return nil, nil, err
		}
		if err := t.Verifier.Start(p.log.With("gateway", strings.Split(p.place, "\x00")[0])); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", fieldTokens, err)
		}
		return t, func(context.Context) { t.Verifier.Close() }, nil
	})
}

func (p *parts) tls(conf *service.ParsedConfig) (*tls.Config, error) {
	return want(p, conf, fieldTLS, func() (*tls.Config, func(context.Context), error) {
		cfg, err := parseTLS(conf, p.log)
		return cfg, nil, err
	})
}

func (p *parts) processors(conf *service.ParsedConfig, field string) (processors, error) {
	return want(p, conf, field, func() (processors, func(context.Context), error) {
		all, err := conf.FieldProcessorList(field)
		return all, processors(all).close, err
	})
}

func (ps processors) close(ctx context.Context) {
	for _, one := range ps {
		_ = one.Close(ctx)
	}
}

// closeWithout closes the parts that others do not have.
func closeWithout(ctx context.Context, all, others map[string]*part) {
	for key, one := range all {
		if others[key] != one && one.close != nil {
			one.close(ctx)
		}
	}
}
