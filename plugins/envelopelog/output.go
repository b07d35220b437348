package envelopelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/tap"
	"github.com/iotcast/iotcast/plugins/internal/logging"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
	"github.com/iotcast/iotcast/plugins/internal/natsconfig"
	"github.com/iotcast/iotcast/plugins/internal/order"
	"github.com/iotcast/iotcast/plugins/internal/permanent"
	"github.com/iotcast/iotcast/plugins/internal/tapping"
)

func init() {
	registerWindowProblem() // before the spec, whose lint rule uses it
	service.MustRegisterBatchOutput("envelope_log", OutputSpec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
			inFlight, err := conf.FieldMaxInFlight()
			if err != nil {
				return nil, service.BatchPolicy{}, 0, err
			}
			out, err := newOutput(conf, res)
			return out, service.BatchPolicy{}, inFlight, err
		})
}

// output implements service.BatchOutput.
type output struct {
	cfg     outputConfig
	log     *slog.Logger
	metrics outputMetrics
	place   *order.Output
	tapped  tapped

	mu     sync.Mutex
	nc     *nats.Conn // nil when not connected
	writer *writer
	stop   context.CancelFunc
}

var (
	_ service.BatchOutput        = (*output)(nil)
	_ service.ConnectionTestable = (*output)(nil)
)

func newOutput(conf *service.ParsedConfig, res *service.Resources) (*output, error) {
	cfg, err := parseOutput(conf, res)
	if err != nil {
		return nil, err
	}
	return &output{
		cfg: cfg, log: logging.New(res.Logger()).With("stream", cfg.stream), metrics: newOutputMetrics(res.Metrics()),
		place:  order.StreamOf(res).AddOutput(),
		tapped: tapped{of: tapping.Once(res), stream: res.StreamID()},
	}, nil
}

// Connect implements service.BatchOutput.
func (o *output) Connect(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.nc != nil {
		return nil
	}
	nc, err := o.cfg.connection.Open()
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncTimeout(o.cfg.ackTimeout))
	if err == nil {
		err = o.cfg.settings.ensure(ctx, js)
	}
	if err != nil {
		nc.Close()
		return err
	}
	running, stop := context.WithCancel(context.Background())
	w := newWriter(o.cfg.stream, func(m *nats.Msg) (jetstream.PubAckFuture, error) {
		// Its own retries would change the order.
		return js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
	}, o.log)
	w.again = func(n int64) { o.metrics.again.Incr(n) }
	w.pending = func(n int64) { o.metrics.pending.Set(n) }
	w.recover = func(ctx context.Context, err error) {
		if errors.Is(err, jetstream.ErrNoStreamResponse) { // its leader is missing, or the stream
			if err := o.cfg.settings.ensure(ctx, js); err != nil {
				o.log.Debug("The stream is not there yet", "error", err)
			}
		}
	}
	go w.run(running)
	o.nc, o.writer, o.stop = nc, w, stop
	o.place.Ready(true)
	return nil
}

// ConnectionTest implements service.ConnectionTestable. It makes no stream.
func (o *output) ConnectionTest(ctx context.Context) service.ConnectionTestResults {
	return o.cfg.connection.Test(ctx, func(ctx context.Context, js jetstream.JetStream) error {
		if !o.cfg.settings.enabled {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, natsconfig.RequestTimeout)
		defer cancel()
		if _, err := js.Stream(ctx, o.cfg.stream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("asking for stream %q: %w", o.cfg.stream, err)
		}
		return nil
	})
}

// WriteBatch returns when the batch is stored. Many are on their way at a time.
func (o *output) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	o.mu.Lock()
	w, nc := o.writer, o.nc
	o.mu.Unlock()
	if w == nil {
		return service.ErrNotConnected
	}
	var (
		messages []*nats.Msg
		indexes  []int // of the messages in the batch
		rejected *service.BatchError
	)
	reject := func(i int, err error) {
		o.metrics.rejected.Incr(1)
		o.tapped.note(batch[i], tap.Rejected, err)
		err = permanent.Error(err)
		if rejected == nil {
			rejected = service.NewBatchError(batch, err)
		}
		rejected = rejected.Failed(i, err)
	}
	for i, m := range batch {
		if err := m.GetError(); err != nil {
			o.metrics.failed.Incr(1)
			o.log.Error("A message failed before it could be stored and is given up: handle it with reject_errored, switch or catch", "error", err)
			o.tapped.lost(m, err)
			continue
		}
		out, err := o.message(m, nc.MaxPayload())
		if err != nil {
			reject(i, err)
			continue
		}
		messages, indexes = append(messages, out), append(indexes, i)
	}
	var stored *writing
	err := o.place.TakeInTurn(ctx, batch, func() (err error) {
		if len(messages) > 0 {
			stored, err = w.queue(ctx, messages)
		}
		return err
	})
	if err != nil {
		return err
	}
	if stored != nil {
		begun := time.Now()
		if err := w.wait(ctx, stored); err != nil {
			return err
		}
		o.metrics.latency.Timing(time.Since(begun).Nanoseconds())
		for i, index := range indexes {
			if stored.refused[i] == nil {
				o.tapped.note(batch[index], tap.Stored, nil)
			}
		}
		for i, err := range stored.refused {
			reject(indexes[i], err)
		}
		o.metrics.stored.Incr(int64(len(messages) - len(stored.refused)))
	}
	if rejected != nil {
		return rejected
	}
	return nil
}

// headRoom is what the position may take, and NATS' own names around headers.
const headRoom = 128

// message is what to store for a Benthos message. It fails for one that can never be.
func (o *output) message(m *service.Message, limit int64) (*nats.Msg, error) {
	payload, err := m.AsBytes()
	if err != nil {
		return nil, fmt.Errorf("reading the message to store: %w", err)
	}
	id := ""
	if o.cfg.eventID == nil {
		id, _ = m.MetaGet(metakey.EventID)
	} else if id, err = o.cfg.eventID.TryString(m); err != nil {
		return nil, fmt.Errorf("%s: %w", fieldEventID, err)
	}
	if limit -= int64(len(metakey.EventID)+len(id)) + headRoom; int64(len(payload)) > limit {
		return nil, fmt.Errorf("the message has %d bytes, and max_payload of the NATS server lets it have %d beside its headers: see max_bytes of iot_trigger", len(payload), limit)
	}
	out := &nats.Msg{Subject: o.cfg.subject, Data: payload, Header: make(nats.Header, 2)}
	if id != "" {
		out.Header.Set(metakey.EventID, id)
	}
	return out, nil
}

// Close implements service.BatchOutput. What is not stored was not acknowledged.
func (o *output) Close(context.Context) error {
	o.place.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.nc == nil {
		return nil
	}
	o.stop()
	<-o.writer.ended
	o.nc.Close()
	o.nc, o.writer = nil, nil
	return nil
}
