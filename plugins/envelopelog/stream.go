package envelopelog

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/plugins/internal/duration"
	"github.com/iotcast/iotcast/plugins/internal/natsconfig"
)

const fieldStream = "stream"

// The fields of a stream that the output makes.
const (
	fieldSettings        = "stream_settings"
	fieldEnabled         = "enabled"
	fieldSubjects        = "subjects"
	fieldReplicas        = "replicas"
	fieldMaxAge          = "max_age"
	fieldMaxBytes        = "max_bytes"
	fieldMaxMessages     = "max_messages"
	fieldDuplicateWindow = "duplicate_window"
	fieldStorage         = "storage"
)

const (
	errReplicas = "replicas must be 1 to 5: 3 keeps all when one NATS server is lost"
	errWindow   = "duplicate_window must not be longer than max_age: NATS cannot know what it no longer has"
)

var streamName = regexp.MustCompile(`^[^\s.*>/\\]+$`)

func streamField() *service.ConfigField {
	return service.NewStringField(fieldStream).
		Description("The name of the stream.").
		Example("iotcast").
		LintRule(`root = if !this.re_match("^[^\\s.*>/\\\\]+$") { [ "stream must be a name without spaces, dots, slashes and wildcards, such as iotcast" ] }`)
}

func settingsField() *service.ConfigField {
	return service.NewObjectField(fieldSettings,
		service.NewBoolField(fieldEnabled).
			Description("Whether to make the stream if it is not there, and to compare it with these settings if it is. With `false`, the output needs no permission but that to publish, and the stream is made by other means.").
			Default(true).
			Example(false),
		service.NewStringListField(fieldSubjects).
			Description("All subjects that the stream stores, those of other outputs included. When empty, `subject` alone.").
			Default([]any{}).
			Example([]string{"iotcast.envelopes.>"}),
		service.NewIntField(fieldReplicas).
			Description("How many NATS servers store each message. With 3, nothing is lost with one of them.").
			Default(1).
			Example(3).
			LintRule(`root = if this.type() == "number" && (this < 1 || this > 5) { [ "`+errReplicas+`" ] }`),
		duration.Field(fieldMaxAge).
			Description("How long a message is kept: as long as clients may be away and still resume. 0s is for ever.").
			Default("5m").
			Example("1h"),
		service.NewIntField(fieldMaxBytes).
			Description("How many bytes are kept on each server; the oldest go first. -1 means that the size does not matter.").
			Default(-1).
			Example(1073741824),
		service.NewIntField(fieldMaxMessages).
			Description("How many messages are kept; the oldest go first. -1 means that the number does not matter.").
			Default(-1).
			Example(100000),
		duration.OptionalField(fieldDuplicateWindow).
			Description("For how long NATS remembers the `Nats-Msg-Id` of what other programs store in the stream; this output needs none. When empty, NATS decides: two minutes, or `max_age` if that is less.").
			Default("").
			Example("2m").
			Advanced(),
		service.NewStringAnnotatedEnumField(fieldStorage, map[string]string{
			"file":   "On disk.",
			"memory": "In memory: a server that restarts gets all from the others.",
		}).
			Description("Where the servers keep messages.").
			Default("file").
			Example("memory").
			Advanced(),
	).
		Description("The stream, which the output makes. One that is there and is otherwise is left as it is, and the output waits: an error says in which field they differ. Change the one or the other (`nats stream edit`).").
		LintRule(`
let problem = this.duplicate_window.or("").string().` + windowProblem + `(this.max_age.or("5m").string())
root = if $problem != "" { [ $problem ] }`)
}

// settings are those of a stream.
type settings struct {
	enabled bool
	config  jetstream.StreamConfig
}

func parseSettings(conf *service.ParsedConfig, stream, subject string) (s settings, err error) {
	c := &s.config
	c.Name, c.Retention, c.Discard = stream, jetstream.LimitsPolicy, jetstream.DiscardOld
	c.AllowDirect = false
	if s.enabled, err = conf.FieldBool(fieldEnabled); err != nil {
		return s, err
	}
	if c.Subjects, err = conf.FieldStringList(fieldSubjects); err != nil {
		return s, err
	}
	if len(c.Subjects) == 0 {
		c.Subjects = []string{subject}
	}
	for _, filter := range c.Subjects {
		if err := checkSubject(filter, true); err != nil {
			return s, fmt.Errorf("field %s.%s: %w", fieldSettings, fieldSubjects, err)
		}
	}
	if !slices.ContainsFunc(c.Subjects, func(filter string) bool { return matches(filter, subject) }) {
		return s, fmt.Errorf("field %s.%s: none of them is, or covers, %s %q", fieldSettings, fieldSubjects, fieldSubject, subject)
	}
	if c.Replicas, err = conf.FieldInt(fieldReplicas); err != nil {
		return s, err
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		return s, errors.New(errReplicas)
	}
	if c.MaxAge, err = duration.Of(conf, fieldMaxAge); err != nil {
		return s, err
	}
	bytes, err := conf.FieldInt(fieldMaxBytes)
	if err != nil {
		return s, err
	}
	messages, err := conf.FieldInt(fieldMaxMessages)
	if err != nil {
		return s, err
	}
	c.MaxBytes, c.MaxMsgs = unlimited(bytes), unlimited(messages)
	window, err := conf.FieldString(fieldDuplicateWindow)
	if err != nil {
		return s, err
	}
	if window != "" {
		if c.Duplicates, err = duration.Parse(fieldDuplicateWindow, window); err != nil {
			return s, err
		}
	}
	if c.MaxAge > 0 && c.Duplicates > c.MaxAge {
		return s, errors.New(errWindow)
	}
	storage, err := conf.FieldString(fieldStorage)
	if err != nil {
		return s, err
	}
	if storage == "memory" {
		c.Storage = jetstream.MemoryStorage
	}
	return s, nil
}

// unlimited is a limit as NATS tells of it.
func unlimited(limit int) int64 {
	if limit <= 0 {
		return -1
	}
	return int64(limit)
}

// ensure makes the stream, or compares it.
func (s settings) ensure(ctx context.Context, js jetstream.JetStream) error {
	if !s.enabled {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, natsconfig.RequestTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, s.config.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		// The same as one that another output has made meanwhile is no error.
		if _, err = js.CreateStream(ctx, s.config); err == nil {
			return nil
		}
		return fmt.Errorf("making stream %q: %w", s.config.Name, err)
	}
	if err != nil {
		return fmt.Errorf("asking for stream %q: %w", s.config.Name, err)
	}
	if different := s.differences(stream.CachedInfo().Config); len(different) > 0 {
		return fmt.Errorf("stream %q is there, and differs from %s: %s: change the config, or the stream with nats stream edit", s.config.Name, fieldSettings, strings.Join(different, "; "))
	}
	return nil
}

// differences are the fields in which a stream is not as it should be.
func (s settings) differences(there jetstream.StreamConfig) (all []string) {
	compare := func(field string, is, want any) {
		if is != want {
			all = append(all, fmt.Sprintf("%s is %v and not %v", field, is, want))
		}
	}
	want := s.config
	list := func(subjects []string) string { return fmt.Sprint(slices.Sorted(slices.Values(subjects))) }
	compare(fieldSubjects, list(there.Subjects), list(want.Subjects))
	compare(fieldReplicas, max(there.Replicas, 1), want.Replicas)
	compare(fieldMaxAge, there.MaxAge, want.MaxAge)
	compare(fieldMaxBytes, unlimited(int(there.MaxBytes)), want.MaxBytes)
	compare(fieldMaxMessages, unlimited(int(there.MaxMsgs)), want.MaxMsgs)
	if want.Duplicates > 0 {
		compare(fieldDuplicateWindow, there.Duplicates, want.Duplicates)
	}
	compare(fieldStorage, strings.ToLower(there.Storage.String()), strings.ToLower(want.Storage.String()))
	compare("retention", strings.ToLower(there.Retention.String()), strings.ToLower(want.Retention.String()))
	return all
}

// checkSubject judges a subject, or a filter of subjects.
func checkSubject(subject string, filter bool) error {
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		switch {
		case token == "" || strings.ContainsAny(token, " \t\r\n"):
			return fmt.Errorf("%q is no subject: it must be words with dots between them, such as iotcast.envelopes.telemetry", subject)
		case token == "*" && filter, token == ">" && filter && i == len(tokens)-1:
		case strings.ContainsAny(token, "*>"):
			return fmt.Errorf("%q has a wildcard where none can stand", subject)
		}
	}
	return nil
}

// matches reports whether a filter covers a subject.
func matches(filter, subject string) bool {
	words, want := strings.Split(subject, "."), strings.Split(filter, ".")
	for i, token := range want {
		switch {
		case token == ">":
			return len(words) > i
		case i >= len(words) || token != "*" && token != words[i]:
			return false
		}
	}
	return len(words) == len(want)
}

// pastDeadline is a context for what is tidied up when the one before has ended.
func pastDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), time.Second)
}
