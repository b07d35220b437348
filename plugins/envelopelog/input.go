package envelopelog

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/plugins/internal/logging"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
	"github.com/iotcast/iotcast/plugins/internal/natsconfig"
)

func init() {
	service.MustRegisterBatchInput("envelope_log", InputSpec(),
		func(conf *service.ParsedConfig, res *service.Resources) (service.BatchInput, error) {
			in, err := newInput(conf, res)
			if err != nil {
				return nil, err
			}
			return service.AutoRetryNacksBatchedToggled(conf, in)
		})
}

// A batch is what is there, and no more than this: each costs Benthos more than a
// message does.
const (
	maxBatch      = 512
	maxBatchBytes = 4 << 20
)

// The metadata beside the event ID, named as by Benthos' nats_jetstream.
const (
	metaSubject  = "nats_subject"
	metaSequence = "nats_sequence_stream"
)

// input implements service.BatchInput.
type input struct {
	cfg     inputConfig
	log     *slog.Logger
	metrics inputMetrics

	mu       sync.Mutex
	nc       *nats.Conn // nil when not connected
	messages <-chan entry
	stop     context.CancelFunc
}

var (
	_ service.BatchInput         = (*input)(nil)
	_ service.ConnectionTestable = (*input)(nil)
)

func newInput(conf *service.ParsedConfig, res *service.Resources) (*input, error) {
	cfg, err := parseInput(conf, res)
	if err != nil {
		return nil, err
	}
	return &input{
		cfg: cfg, log: logging.New(res.Logger()).With("stream", cfg.stream), metrics: newInputMetrics(res.Metrics()),
	}, nil
}

// Connect implements service.BatchInput. The stream need not be there yet.
func (in *input) Connect(context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.nc != nil {
		return nil
	}
	nc, err := in.cfg.connection.Open()
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err == nil {
		err = in.cfg.checkServer(nc)
	}
	if err != nil {
		nc.Close()
		return err
	}
	f := &follower{
		js: js, cfg: in.cfg, log: in.log, metrics: in.metrics,
		out: make(chan entry, maxBatch), leader: askLeader(js, in.cfg.stream), reader: newReader(),
	}
	running, stop := context.WithCancel(context.Background())
	go f.run(running)
	in.nc, in.messages, in.stop = nc, f.out, stop
	return nil
}

// ConnectionTest implements service.ConnectionTestable: NATS answers, and has the stream.
func (in *input) ConnectionTest(ctx context.Context) service.ConnectionTestResults {
	return in.cfg.connection.Test(ctx, func(ctx context.Context, js jetstream.JetStream) error {
		ctx, cancel := context.WithTimeout(ctx, natsconfig.RequestTimeout)
		defer cancel()
		if _, err := js.Stream(ctx, in.cfg.stream); err != nil {
			return fmt.Errorf("asking for stream %q: %w", in.cfg.stream, err)
		}
		return in.cfg.checkServer(js.Conn())
	})
}

// ReadBatch implements service.BatchInput. There is nothing to acknowledge.
func (in *input) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	in.mu.Lock()
	messages := in.messages
	in.mu.Unlock()
	if messages == nil {
		return nil, nil, service.ErrNotConnected
	}
	var batch service.MessageBatch
	for size := 0; len(batch) < maxBatch && size < maxBatchBytes; {
		e, err := in.receive(ctx, messages, len(batch) == 0)
		if err != nil {
			return nil, nil, err
		}
		if e == nil {
			break
		}
		batch = append(batch, message(e))
		size += len(e.data)
	}
	in.metrics.read.Incr(int64(len(batch)))
	return batch, func(context.Context, error) error { return nil }, nil
}

// receive is the next message, or nil if there is none and it need not wait.
func (in *input) receive(ctx context.Context, messages <-chan entry, wait bool) (*entry, error) {
	select {
	case e, ok := <-messages:
		if !ok {
			return nil, service.ErrEndOfInput
		}
		return &e, nil
	default:
		if !wait {
			return nil, nil
		}
	}
	select {
	case e, ok := <-messages:
		if !ok {
			return nil, service.ErrEndOfInput
		}
		return &e, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// message is what to hand out for what the stream has.
func message(e *entry) *service.Message {
	out := service.NewMessage(e.data)
	if id := e.header.Get(metakey.EventID); id != "" {
		out.MetaSetMut(metakey.EventID, id)
	}
	out.MetaSetMut(metaSubject, e.subject)
	out.MetaSetMut(metaSequence, e.sequence)
	return out
}

// Close implements service.BatchInput.
func (in *input) Close(context.Context) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.nc == nil {
		return nil
	}
	in.stop()
	for range in.messages { // until it has ended, and has removed its consumer
	}
	in.nc.Close()
	in.nc, in.messages = nil, nil
	return nil
}
