package envelopelog

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/plugins/internal/natsconfig"
)

const (
	fieldStart         = "start"
	fieldStartSequence = "start_sequence"
	fieldStartTime     = "start_time"

	startAll      = "all"
	startNew      = "new"
	startSequence = "sequence"
	startTime     = "time"
)

const (
	errSequence = "start_sequence is needed with start: sequence, is at least 1, and is for nothing else"
	errTime     = "start_time is needed with start: time, in the form 2019-09-25T15:51:17Z, and is for nothing else"
)

// InputSpec describes the input's configuration.
func InputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Beta().
		Version("0.1.0").
		Categories("Services").
		Summary("Reads what the output `envelope_log` has stored in a stream of NATS JetStream: all of it, in order, each message once.").
		Description(`
Each input reads the whole stream for itself, from where `+"`start`"+` says: gateways begin with the oldest message, and so fill the history of their routes. What they read and in which order depends on the stream alone, and so it is the same on all nodes. Copies that the output has stored when a server of NATS was lost are left out. Messages of other programs are read as they are.

The input has no place that NATS remembers and acknowledges nothing: a process that starts again begins again. While it runs, a lost connection, server or message makes it go on behind the last message that came. A stream that was made anew is read from its beginning. If the stream is not there, or NATS is away when the process starts, the input tries until it is there.

Messages come in batches of what is there. Several `+"`pipeline.threads`"+` or a `+"`max_in_flight`"+` of the output above 1 can change their order.

== Metadata

- `+"`iot_event_id`"+`: the event ID that the output has stored with the message
- `+"`nats_subject`, `nats_sequence_stream`"+`: where it stands in the stream

== Permissions

A user that reads needs to publish to `+"`$JS.API.STREAM.INFO.<stream>`, `$JS.API.CONSUMER.CREATE.<stream>.>`, `$JS.API.CONSUMER.MSG.NEXT.<stream>.>` and `$JS.API.CONSUMER.DELETE.<stream>.>`"+`, and to subscribe to `+"`<inbox_prefix>.>`"+`. To let it read one subject and no more, end the second with `+"`.*.<subject>`"+` in place of `+"`.>`"+`. With `+"`$JS.API.STREAM.MSG.GET.<stream>`"+`, by which it could read all subjects, it gets from the leader of the stream what another server lacks, as with NATS 2.9 once the network was cut.

== Metrics

- `+"`envelope_log_read`"+`: messages that were handed out
- `+"`envelope_log_copies`"+`: copies that were left out
- `+"`envelope_log_begun_again`"+`: how often reading went on after something was amiss
- `+"`envelope_log_read_from_leader`"+`: messages that a NATS server did not give, and that were read from the leader of the stream: what that server has of the stream differs
- `+"`envelope_log_removed_unread`"+`: messages of the stream that NATS had removed when reading went on
`).
		Field(natsconfig.Servers()).
		Fields(
			streamField(),
			service.NewStringListField(fieldSubjects).
				Description("What to read of the stream: subjects, with the wildcards `*` and `>` of NATS. When empty, all. More than one needs NATS 2.10.").
				Default([]any{}).
				Example([]string{"iotcast.envelopes.telemetry"}).
				LintRule(`root = if this.type() == "array" && this.any(s -> s.type() == "string" && !s.re_match("^[^\\s.]+(\\.[^\\s.]+)*$")) { [ "subjects must be words with dots between them, such as iotcast.envelopes.telemetry or iotcast.envelopes.>" ] }`),
			service.NewStringAnnotatedEnumField(fieldStart, map[string]string{
				startAll:      "With the oldest message that is there.",
				startNew:      "With what is stored from now on.",
				startSequence: "With that at `start_sequence`.",
				startTime:     "With the first since `start_time`.",
			}).
				Description("Where to begin when the process starts.").
				Default(startAll).
				Example(startNew),
			service.NewIntField(fieldStartSequence).
				Description("The sequence in the stream to begin with, for `start: sequence`.").
				Optional().
				Example(1000).
				Advanced(),
			service.NewStringField(fieldStartTime).
				Description("The time to begin with, for `start: time`, as in RFC 3339.").
				Default("").
				Example("2019-09-25T15:51:17Z").
				Advanced(),
			service.NewAutoRetryNacksToggleField(),
		).
		Fields(natsconfig.Security()...).
		LintRule(fmt.Sprintf(`root = match {
  (this.start.or("all") == "sequence") != (this.start_sequence.or(0) != 0) => [ %q ],
  (this.start.or("all") == "time") != (this.start_time.or("") != "") => [ %q ],
}`, errSequence, errTime)).
		Example("A gateway of a cluster", "All that is stored of one route, and then what comes, to every connection.", `
input:
  envelope_log:
    urls: [ nats://localhost:4222 ]
    stream: iotcast
    subjects: [ iotcast.envelopes.telemetry ]

output:
  websocket_broadcast:
    gateway: main
    path: /telemetry
`)
}

type inputConfig struct {
	connection natsconfig.Connection
	stream     string
	subjects   []string
	start      string
	sequence   uint64
	time       time.Time
}

// first is the sequence to begin with, or 0 where time decides.
func (c inputConfig) first(last uint64) uint64 {
	switch c.start {
	case startNew:
		return last + 1
	case startSequence:
		return c.sequence
	case startTime:
		return 0
	}
	return 1
}

// checkServer finds servers that would hand out all subjects where several are asked for.
func (c inputConfig) checkServer(nc *nats.Conn) error {
	version := nc.ConnectedServerVersion()
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || len(c.subjects) < 2 || major > 2 || major == 2 && minor >= 10 {
		return nil
	}
	return fmt.Errorf("field %s: more than one needs NATS 2.10, and the server is %s: update it, or name one, such as iotcast.envelopes.> for all below", fieldSubjects, version)
}

func parseInput(conf *service.ParsedConfig, res *service.Resources) (c inputConfig, err error) {
	if c.connection, err = natsconfig.Parse(conf, "iotcast "+res.Label()); err != nil {
		return c, err
	}
	if c.stream, err = parseStream(conf); err != nil {
		return c, err
	}
	if c.subjects, err = conf.FieldStringList(fieldSubjects); err != nil {
		return c, err
	}
	for _, filter := range c.subjects {
		if err := checkSubject(filter, true); err != nil {
			return c, fmt.Errorf("field %s: %w", fieldSubjects, err)
		}
	}
	if c.start, err = conf.FieldString(fieldStart); err != nil {
		return c, err
	}
	sequence := 0
	if conf.Contains(fieldStartSequence) {
		if sequence, err = conf.FieldInt(fieldStartSequence); err != nil {
			return c, err
		}
	}
	if (c.start == startSequence) != (sequence != 0) || sequence < 0 {
		return c, errors.New(errSequence)
	}
	c.sequence = uint64(sequence)
	text, err := conf.FieldString(fieldStartTime)
	if err != nil {
		return c, err
	}
	if c.start == startTime {
		c.time, err = time.Parse(time.RFC3339Nano, text)
	}
	if err != nil || (c.start == startTime) != (text != "") {
		return c, errors.New(errTime)
	}
	return c, nil
}
