package iotmqtt

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/internal/tap"
	"github.com/iotcast/iotcast/plugins/internal/permanent"
)

// delivery hands batches to the pipeline, and again until they are acknowledged or
// given up. Acknowledgements come at any time.
type delivery struct {
	cfg      config
	alone    bool // nothing gathers that could wait for a batch to come back
	rejected *service.MetricCounter
	expired  *service.MetricCounter
	log      *slog.Logger
	tapped   *tapped

	replays *replays
	away    atomic.Int64  // batches that are on their way through the pipeline
	idle    chan struct{} // capacity 1: no batch is on its way any more
	free    chan struct{} // with strict_order: holds one thing while no batch is on its way; else nil
}

func newDelivery(cfg config, alone bool, metrics metrics, log *slog.Logger, tapped *tapped) *delivery {
	d := &delivery{
		cfg: cfg, alone: alone, rejected: metrics.rejected, expired: metrics.expired, log: log, tapped: tapped,
		replays: newReplays(), idle: make(chan struct{}, 1),
	}
	if cfg.strictOrder {
		d.free = make(chan struct{}, 1)
		d.free <- struct{}{}
	}
	return d
}

// again is a batch that is to be handed out once more, nil if none is.
func (d *delivery) again() *batch {
	for {
		b := d.replays.next()
		switch {
		case b == nil:
			return nil
		case b.comesAgain(d.cfg.session.CleanSession):
			b.session.Ack(b.sources) // it is lost: this makes room
			d.tapped.note(b, tap.GivenUp, errComesAgain)
		case d.fresh(b):
			return b
		}
		d.settled()
	}
}

// fresh takes messages out of a batch whose expiry has passed, and reports whether any is left. The publisher has said that
// they are of no use any more (MQTT 5, section 3.3.2.3.3).
func (d *delivery) fresh(b *batch) bool {
	if d.cfg.session.Version != mqttclient.MQTT5 {
		return true // nobody can have said so
	}
	gone := b.takeExpired(time.Now())
	if len(gone) == 0 {
		return true
	}
	d.expired.Incr(int64(len(gone)))
	b.session.Ack(gone)
	if len(b.sources) > 0 {
		return true
	}
	b.turn.Taken()
	d.tapped.note(b, tap.GivenUp, errExpired)
	return false
}

// busy reports whether the next batch must wait for the one that is on its way.
func (d *delivery) busy() bool { return d.free != nil && len(d.free) == 0 }

// wait returns when the batch that is on its way is settled, or is to be handed out
// again.
func (d *delivery) wait(ctx context.Context) error {
	select {
	case <-d.free:
		d.free <- struct{}{}
	case <-d.replays.ready:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// settled says that a batch that was handed out will not be again.
func (d *delivery) settled() {
	if d.free != nil {
		d.free <- struct{}{}
	}
}

// handFirst hands out a batch that has not been before.
func (d *delivery) handFirst(b *batch) (service.MessageBatch, service.AckFunc, error) {
	if d.free != nil {
		<-d.free
	}
	return d.hand(b)
}

// hand gives a batch to the pipeline, which may change it: with replays on, a
// copy.
func (d *delivery) hand(b *batch) (service.MessageBatch, service.AckFunc, error) {
	messages := b.messages
	if d.cfg.replay {
		messages = messages.Copy()
	}
	d.away.Add(1)
	return messages, func(_ context.Context, err error) error {
		defer d.back()
		b.turn.Taken() // a filter or another output may have ended it
		switch {
		case err == nil:
			b.session.Ack(b.sources)
			d.tapped.note(b, tap.Acknowledged, nil)
			d.settled()
		case b.turn.Ended().Err() != nil:
			// The stream ends: what is not acknowledged comes again.
		case permanent.Is(err):
			d.giveUp(b, "they can never be sent", err)
		case d.cfg.replay:
			// The whole batch, whichever of its messages the error is about. A
			// processor that makes fewer messages of a batch, as iot_trigger does,
			// leaves Benthos with no way to tell.
			d.replays.add(b)
			d.tapped.note(b, tap.Retried, err)
		default:
			d.giveUp(b, "auto_replay_nacks is false", err)
		}
		return nil
	}, nil
}

// back says that a batch is no longer on its way, which may make another one due.
func (d *delivery) back() {
	if d.away.Add(-1) > 0 {
		return
	}
	if !d.alone {
		d.replays.wake()
	}
	select {
	case d.idle <- struct{}{}:
	default:
	}
}

// settle returns when no batch is on its way any more, and nothing reads: what else
// was read comes again. It does not wait beyond quit, or for longer than within.
func (d *delivery) settle(quit <-chan struct{}, within time.Duration) {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for d.away.Load() > 0 {
		select {
		case <-d.idle:
		case <-quit:
			return
		case <-timeout.C:
			return
		}
	}
}

// giveUp acknowledges what was rejected: MQTT 3.1.1 knows no negative
// acknowledgement.
func (d *delivery) giveUp(b *batch, because string, err error) {
	n := b.failed(err)
	d.rejected.Incr(int64(n))
	d.log.Error("Messages were rejected and are given up: to keep such, put a fallback behind the output",
		"messages", n, "topic", b.sources[0].Topic, "because", because, "error", err)
	b.session.Ack(b.sources)
	d.tapped.lost(b, err)
	d.settled()
}

// stop gives back to their sessions the batches that wait to be handed out again.
func (d *delivery) stop() {
	for _, b := range d.replays.stop() {
		b.session.Drop(b.sources)
	}
}
