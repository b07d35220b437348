package envelopelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// tooLarge is the code of NATS' error for a message above max_msg_size of the stream.
const tooLarge jetstream.ErrorCode = 10054

// The pause before what is not confirmed is published again: from the one to the
// other while nothing is stored.
const (
	shortestPause = 50 * time.Millisecond
	longestPause  = 2 * time.Second
)

// writer stores messages in order, with all of them on their way at once: see the
// package's comment. What it knows belongs to the goroutine of run.
type writer struct {
	id      string
	stream  string // that is to acknowledge
	publish func(*nats.Msg) (jetstream.PubAckFuture, error)
	recover func(context.Context, error) // before anything is published again
	again   func(messages int64)         // counts what is published again
	pending func(messages int64)         // tells how many are not confirmed
	log     *slog.Logger

	in    chan *writing
	ended chan struct{}

	confirmed uint64
	waiting   []unconfirmed // numbers confirmed+1 and up
	published int           // of those that wait, in this round
	stored    bool          // something, in this round
	troubled  bool          // and the log says so
}

// unconfirmed is a message of which it is not known whether it is stored in its order.
type unconfirmed struct {
	msg    *nats.Msg
	stored <-chan *jetstream.PubAck
	failed <-chan error
	known  bool // what one of them said

	of    *writing
	index int // among its messages
}

// writing is a batch on its way.
type writing struct {
	messages []*nats.Msg
	refused  map[int]error // for good, by index
	done     chan struct{} // closed when each message is confirmed or refused
}

func newWriter(stream string, publish func(*nats.Msg) (jetstream.PubAckFuture, error), log *slog.Logger) *writer {
	return &writer{
		id: nuid.Next(), stream: stream, publish: publish, log: log,
		recover: func(context.Context, error) {}, again: func(int64) {}, pending: func(int64) {},
		in: make(chan *writing), ended: make(chan struct{}),
	}
}

// queue hands messages over, behind all those that it was called with before.
func (w *writer) queue(ctx context.Context, messages []*nats.Msg) (*writing, error) {
	b := &writing{messages: messages, done: make(chan struct{})}
	select {
	case w.in <- b:
		return b, nil
	case <-w.ended:
		return nil, errors.New("the output is closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// wait returns when a batch is settled.
func (w *writer) wait(ctx context.Context, b *writing) error {
	select {
	case <-b.done:
		return nil
	case <-w.ended:
		return errors.New("the output was closed before NATS had stored the batch")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run stores what is queued until ctx ends.
func (w *writer) run(ctx context.Context) {
	defer close(w.ended)
	pause := shortestPause
	for {
		w.stored = false
		err := w.round(ctx)
		if ctx.Err() != nil {
			return
		}
		if refusal := (*jetstream.APIError)(nil); errors.As(err, &refusal) && refusal.ErrorCode == tooLarge {
			w.refuse(fmt.Errorf("the message is larger than max_msg_size of stream %q: %w", w.stream, err))
		} else if !w.troubled {
			w.troubled = true
			w.log.Warn("NATS has not stored a message: what waits is published again until it has", "error", err)
		}
		w.settle(ctx)
		if w.stored {
			pause = shortestPause
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, longestPause)
		w.recover(ctx, err)
		w.again(int64(w.published))
		w.published = 0
	}
}

// round publishes all that waits, and what comes, until something is not stored in
// its order.
func (w *writer) round(ctx context.Context) error {
	last := uint64(0) // sequence of this round: the first is behind all before it
	var broken error  // of a message that was not published: those before it may be stored
	for {
		in := w.in
		if broken == nil {
			broken = w.send()
		}
		if broken != nil {
			if w.published == 0 {
				return broken
			}
			in = nil
		}
		var first unconfirmed // its channels are nil if there is none
		if w.published > 0 {
			first = w.waiting[0]
		}
		select {
		case b := <-in:
			for i, m := range b.messages {
				w.waiting = append(w.waiting, unconfirmed{msg: m, of: b, index: i})
			}
			w.pending(int64(len(w.waiting)))
		case ack := <-first.stored:
			w.waiting[0].known = true
			switch {
			case ack.Stream != w.stream:
				return fmt.Errorf("stream %q has stored what is for %q: its subjects must not cover this one", ack.Stream, w.stream)
			case ack.Duplicate || ack.Sequence <= last:
				return fmt.Errorf("number %d came to sequence %d, and the one before to %d: the leader of the stream may have changed", w.confirmed+1, ack.Sequence, last)
			}
			last = ack.Sequence
			w.confirm()
		case err := <-first.failed:
			w.waiting[0].known = true
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send publishes what waits and was not yet published in this round. Number 1 goes alone.
func (w *writer) send() error {
	for ; w.published < len(w.waiting) && (w.confirmed > 0 || w.published == 0); w.published++ {
		e := &w.waiting[w.published]
		at := position{writer: w.id, number: w.confirmed + uint64(w.published) + 1, confirmed: w.confirmed}
		e.msg.Header.Set(positionHeader, at.String())
		ack, err := w.publish(e.msg)
		if err != nil {
			return err
		}
		e.stored, e.failed, e.known = ack.Ok(), ack.Err(), false
	}
	return nil
}

// confirm settles the first that waits.
func (w *writer) confirm() {
	if w.troubled {
		w.troubled = false
		w.log.Info("NATS stores messages again")
	}
	w.confirmed++
	w.stored = true
	w.next()
}

// refuse settles the first that waits: it can never be stored. Its number is never
// confirmed, and so what follows must be another writer's.
func (w *writer) refuse(err error) {
	first := w.waiting[0]
	if first.of.refused == nil {
		first.of.refused = make(map[int]error)
	}
	first.of.refused[first.index] = err
	w.next()
	w.id, w.confirmed = nuid.Next(), 0
}

func (w *writer) next() {
	if b := w.waiting[0].of; w.waiting[0].index == len(b.messages)-1 {
		close(b.done)
	}
	w.waiting[0] = unconfirmed{} // for the garbage collector
	w.waiting = w.waiting[1:]
	w.published--
	w.pending(int64(len(w.waiting)))
}

// settle waits until all that is published is answered: NATS is busy enough.
func (w *writer) settle(ctx context.Context) {
	for _, e := range w.waiting[:w.published] {
		if e.known {
			continue
		}
		select {
		case <-e.stored:
		case <-e.failed:
		case <-ctx.Done():
			return
		}
	}
}

// sleep reports whether it has slept so long.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
