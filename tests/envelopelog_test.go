package tests

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/tap"
	_ "github.com/iotcast/iotcast/plugins/envelopelog"
)

// runLogStream runs a stream of a builder until the test ends.
func runLogStream(t *testing.T, b *service.StreamBuilder, followed *tap.Tap) {
	t.Helper()
	b.SetLogger(slog.New(slog.DiscardHandler))
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	s.Resources().SetGeneric(tap.Key, followed)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := s.StopWithin(10 * time.Second); err != nil {
			t.Error(err)
		}
		<-ended
	})
}

// writeLog runs an output, and returns what writes to it: it blocks until all is stored.
func writeLog(t *testing.T, url, fields string) func(...*service.Message) error {
	t.Helper()
	return writeLogAs(t, fmt.Sprintf(writerFields, url, fields), tap.New())
}

const (
	writerFields = "envelope_log:\n  urls: [ %q ]\n  stream: log\n  subject: log.a\n  stream_settings: { subjects: [ log.> ], max_age: 1h }\n%s"
	readerFields = "envelope_log:\n  urls: [ %q ]\n  stream: log\n%s"
)

func writeLogAs(t *testing.T, fields string, followed *tap.Tap) func(...*service.Message) error {
	t.Helper()
	b := service.NewStreamBuilder()
	produce, err := b.AddBatchProducerFunc()
	if err == nil {
		err = b.AddOutputYAML(fields)
	}
	if err != nil {
		t.Fatal(err)
	}
	runLogStream(t, b, followed)
	return func(batch ...*service.Message) error { return produce(t.Context(), batch) }
}

// logReader collects what an input reads.
type logReader struct {
	mu  sync.Mutex
	all []string
	ids []string
}

func readLog(t *testing.T, url, fields string) *logReader {
	t.Helper()
	return readLogAs(t, fmt.Sprintf(readerFields, url, fields))
}

func readLogAs(t *testing.T, fields string) *logReader {
	t.Helper()
	r := new(logReader)
	b := service.NewStreamBuilder()
	err := b.AddInputYAML(fields)
	if err == nil {
		err = b.AddBatchConsumerFunc(func(_ context.Context, batch service.MessageBatch) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, m := range batch {
				text, _ := m.AsBytes()
				id, _ := m.MetaGet("iot_event_id")
				r.all, r.ids = append(r.all, string(text)), append(r.ids, id)
			}
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	runLogStream(t, b, tap.New())
	return r
}

func (r *logReader) read() (all, ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.all...), append([]string(nil), r.ids...)
}

func (r *logReader) waitFor(t *testing.T, n int) []string {
	t.Helper()
	eventuallyWithin(t, 2*time.Minute, fmt.Sprintf("%d messages are read", n), func() bool {
		all, _ := r.read()
		return len(all) >= n
	})
	all, _ := r.read()
	return all
}

func logMessage(n int) *service.Message {
	m := service.NewMessage(fmt.Append(nil, n))
	m.MetaSetMut("iot_event_id", fmt.Sprintf("id-%d", n))
	return m
}

func jetStream(t *testing.T, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// NATS comes late, goes, comes back, and has its stream made anew.
func TestLogOutlivesNATS(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	server.kill()
	write := writeLog(t, server.url(), "")
	r := readLog(t, server.url(), "")
	first := make(chan error, 1)
	go func() { first <- write(logMessage(0), logMessage(1)) }()
	server.start()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	r.waitFor(t, 2)
	server.kill()
	go func() { first <- write(logMessage(2)) }()
	server.start()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	r.waitFor(t, 3)
	if all, ids := r.read(); fmt.Sprint(all) != "[0 1 2]" || fmt.Sprint(ids) != "[id-0 id-1 id-2]" {
		t.Errorf("read %v with the event IDs %v", all, ids)
	}
	js := jetStream(t, server.url())
	if err := js.DeleteStream(t.Context(), "log"); err != nil {
		t.Fatal(err)
	}
	if err := write(logMessage(3)); err != nil {
		t.Fatal(err)
	}
	if all := r.waitFor(t, 4); fmt.Sprint(all) != "[0 1 2 3]" {
		t.Errorf("read %v after the stream was made anew", all)
	}
}

// A message that NATS can never take fails alone, and others do not.
func TestLogRefusesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	write := writeLog(t, server.url(), "")
	err := write(service.NewMessage(make([]byte, 2<<20)))
	if err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("error %v", err)
	}
	if err := write(logMessage(1)); err != nil {
		t.Error(err)
	}
}

// Who follows a message sees it stored, rejected or given up, and what is given up is kept for those who come later.
func TestLogTap(t *testing.T) {
	t.Parallel()
	server, followed := startNATS(t), tap.New()
	write := writeLogAs(t, fmt.Sprintf(writerFields, server.url(), ""), followed)
	f := followed.Follow(tap.Filter{})
	defer f.Close()
	stored, large, failed := logMessage(1), logMessage(2), logMessage(3)
	large.SetBytes(make([]byte, 2<<20))
	failed.SetError(errors.New("no JSON"))
	for i := range 3 {
		followed.Receive(tap.Message{EventID: fmt.Sprint("id-", i+1)})
	}
	for _, m := range []*service.Message{stored, large, failed} {
		_ = write(m)
	}
	followed.Note(tap.Step{Step: tap.Acknowledged}, "id-1", "id-2")
	type way struct{ steps, reason string }
	want := map[string]way{
		"id-1": {"[received stored acknowledged]", ""}, "id-2": {"[received rejected acknowledged]", "max_payload"}, "id-3": {"[received given_up]", "no JSON"},
	}
	for len(want) > 0 {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, ways, _, err := f.Next(ctx)
		cancel()
		if err != nil {
			t.Fatalf("%v, and these ways are missing: %v", err, want)
		}
		for _, w := range ways {
			var steps []string
			for _, s := range w.Steps {
				steps = append(steps, s.Step)
			}
			if one := want[w.Message.EventID]; fmt.Sprint(steps) != one.steps || !strings.Contains(w.Steps[1].Reason, one.reason) {
				t.Errorf("%+v, want %+v", w, one)
			}
			delete(want, w.Message.EventID)
		}
	}
	if lost := followed.Losses(); len(lost) != 1 || lost[0].Message.EventID != "id-3" {
		t.Errorf("%+v", lost)
	}
}

// Where an input begins, what it reads, and that it leaves no consumer behind.
func TestLogStarts(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	write := writeLog(t, server.url(), "")
	for n := range 3 {
		if err := write(logMessage(n)); err != nil {
			t.Fatal(err)
		}
	}
	js := jetStream(t, server.url())
	t.Run("inputs", func(t *testing.T) {
		second := readLog(t, server.url(), "  start: sequence\n  start_sequence: 2\n")
		other := readLog(t, server.url(), "  subjects: [ log.b ]\n")
		since := readLog(t, server.url(), "  start: time\n  start_time: 2019-09-25T15:51:17Z\n")
		late := readLog(t, server.url(), "  start: new\n")
		if all := second.waitFor(t, 2); fmt.Sprint(all) != "[1 2]" {
			t.Errorf("read %v", all)
		}
		since.waitFor(t, 3)
		eventually(t, "all four read", func() bool {
			s, err := js.Stream(t.Context(), "log")
			return err == nil && s.CachedInfo().State.Consumers == 4
		})
		if _, err := js.Publish(t.Context(), "log.b", []byte("of another program")); err != nil {
			t.Fatal(err)
		}
		if all := other.waitFor(t, 1); fmt.Sprint(all) != "[of another program]" {
			t.Errorf("read %v", all)
		}
		if all := late.waitFor(t, 1); fmt.Sprint(all) != "[of another program]" {
			t.Errorf("read %v", all)
		}
	})
	s, err := js.Stream(t.Context(), "log")
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers are left behind", n)
	}
}

// TestLogSubjects: of several subjects all is read; a server that cannot do that is named,
// and nothing is read.
func TestLogSubjects(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	write := writeLog(t, server.url(), "")
	if err := write(logMessage(0)); err != nil {
		t.Fatal(err)
	}
	js, fields := jetStream(t, server.url()), "  subjects: [ log.a, log.b ]\n"
	if version := js.Conn().ConnectedServerVersion(); strings.HasPrefix(version, "2.9.") {
		if err := testConnection(t, fmt.Sprintf(readerFields, server.url(), fields)); err == nil || !strings.Contains(err.Error(), "needs NATS 2.10, and the server is "+version) {
			t.Errorf("error %v", err)
		}
		return
	}
	for _, subject := range []string{"log.c", "log.b"} {
		if _, err := js.Publish(t.Context(), subject, []byte(subject)); err != nil {
			t.Fatal(err)
		}
	}
	if all := readLog(t, server.url(), fields).waitFor(t, 2); fmt.Sprint(all) != "[0 log.b]" {
		t.Errorf("read %v", all)
	}
}

// TestLogLeaders: the leader of the stream is killed again and again while 20,000
// messages are stored. Two readers get all of them, each once, in the same order, which is
// that of the writer.
func TestLogLeaders(t *testing.T) {
	const total, kills = 20000, 6
	c := &cluster{t: t}
	c.startNATS()
	url := c.natsURL()
	b := service.NewStreamBuilder()
	// The numbers come by an input without turns: one batch at a time is written, of many.
	err := b.SetYAML(fmt.Sprintf(`
input:
  generate: { count: %d, interval: "", batch_size: 50, mapping: 'root = count("leaders") - 1' }
output:
  envelope_log:
    urls: [ %q ]
    stream: log
    subject: log.a
    stream_settings: { replicas: 3, max_age: 1h }
    ack_timeout: 2s
    max_in_flight: 1
`, total, url))
	if err != nil {
		t.Fatal(err)
	}
	readers := []*logReader{readLog(t, url, ""), readLog(t, url, "")}
	runLogStream(t, b, tap.New())
	js := jetStream(t, url)
	for i := range kills {
		readers[0].waitFor(t, (i+1)*total/(kills+2))
		s, err := js.Stream(t.Context(), "log")
		if err != nil || s.CachedInfo().Cluster == nil || s.CachedInfo().Cluster.Leader == "" {
			continue
		}
		for n, m := range c.nats {
			if s.CachedInfo().Cluster.Leader == fmt.Sprintf("n%d", n) {
				m.kill()
				m.start()
				m.waitReady()
			}
		}
	}
	for i, r := range readers {
		all := r.waitFor(t, total)
		if len(all) != total {
			t.Errorf("reader %d: %d messages", i, len(all))
		}
		for n, text := range all {
			if text != fmt.Sprint(n) {
				t.Fatalf("reader %d: message %d is %s", i, n, text)
			}
		}
	}
	s, err := js.Stream(t.Context(), "log")
	if err == nil {
		t.Logf("the log has %d copies of %d messages", s.CachedInfo().State.Msgs, total)
	}
}
