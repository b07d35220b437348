package connectionapi

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redpanda-data/benthos/v4/public/service"
)

// forwarding is the processors of forward, which it makes, and makes again.
//
// A processor that connects when it is made cannot be made while what it connects to is
// away, and some never open a connection again that was closed for good: that of NATS,
// after what the server takes for a breach of its protocol. The gateway is to be there
// all the same.
type forwarding struct {
	build func() ([]*service.OwnedProcessor, error)
	log   *slog.Logger
	stop  context.CancelFunc
	done  chan struct{}

	mu    sync.RWMutex  // held by whoever uses them, or closes them
	made  *processors   // nil: they are not there
	tried chan struct{} // closed after the next attempt to make them, and replaced
	wake  chan struct{} // they are to be made
}

// processors are those of one attempt.
type processors struct{ list []*service.OwnedProcessor }

// remakeInterval is between two attempts to make them.
const remakeInterval = time.Second

var errNotMade = errors.New("forward is not connected")

// newForwarding returns when the first attempt is over.
func newForwarding(build func() ([]*service.OwnedProcessor, error), log *slog.Logger) *forwarding {
	ctx, stop := context.WithCancel(context.Background())
	f := &forwarding{
		build: build, log: log, stop: stop,
		done: make(chan struct{}), tried: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	first := f.tried
	go f.keep(ctx)
	<-first
	return f
}

// keep makes the processors, and again whenever they are gone.
func (f *forwarding) keep(ctx context.Context) {
	defer close(f.done)
	failing := false
	for {
		list, err := f.build()
		switch {
		case err != nil && !failing:
			f.log.Warn("forward cannot be made: connections of other nodes count as not open, and it is tried again", "error", err)
		case err == nil && failing:
			f.log.Info("forward is there")
		}
		failing = err != nil
		f.mu.Lock()
		if err == nil {
			f.made = &processors{list}
		}
		close(f.tried)
		f.tried = make(chan struct{})
		f.mu.Unlock()

		again := f.wake
		var after <-chan time.Time
		if failing {
			again, after = nil, time.After(remakeInterval)
		}
		select {
		case <-again:
		case <-after:
		case <-ctx.Done():
			return
		}
	}
}

// forward is connections.Forward.
func (f *forwarding) forward(ctx context.Context, node string, request []byte) ([]byte, error) {
	answer, used, err := f.use(ctx, node, request)
	if !errors.Is(err, nats.ErrConnectionClosed) {
		return answer, err
	}
	select {
	case <-f.drop(used):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	answer, _, err = f.use(ctx, node, request)
	return answer, err
}

// use has the processors carry a request, and returns those that did.
func (f *forwarding) use(ctx context.Context, node string, request []byte) (answer []byte, used *processors, err error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.made == nil {
		return nil, nil, errNotMade
	}
	answer, err = f.made.carry(ctx, node, request)
	return answer, f.made, err
}

// drop gives up processors whose connection is closed. The channel is closed when
// others were tried to be made.
func (f *forwarding) drop(used *processors) (tried <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.made != used {
		if f.made == nil { // another request has dropped them
			return f.tried
		}
		there := make(chan struct{})
		close(there)
		return there
	}
	f.log.Warn("The connection of forward is closed: another is opened")
	f.made = nil
	used.close(context.Background())
	f.wake <- struct{}{} // it is empty: keep waits while they are there
	return f.tried
}

// ready says what is missing.
func (f *forwarding) ready() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.made == nil {
		return errors.New(fieldAPI + ": forward is not connected, the log says why")
	}
	return nil
}

// close ends all of it, or what it can before ctx does.
func (f *forwarding) close(ctx context.Context) {
	f.stop()
	select {
	case <-f.done:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.made != nil {
		f.made.close(ctx)
		f.made = nil
	}
}

// carry carries a request to the node.
func (p *processors) carry(ctx context.Context, node string, request []byte) ([]byte, error) {
	m := service.NewMessageWithContext(ctx, request)
	m.MetaSetMut(metaNode, node)
	batches, err := service.ExecuteProcessors(ctx, p.list, service.MessageBatch{m})
	if err != nil {
		return nil, err
	}
	if len(batches) == 0 || len(batches[0]) == 0 {
		return nil, errors.New("the processors of forward have dropped the request")
	}
	answer := batches[0][0]
	if err := answer.GetError(); err != nil {
		return nil, err
	}
	return answer.AsBytes()
}

func (p *processors) close(ctx context.Context) {
	for _, one := range p.list {
		_ = one.Close(ctx)
	}
}
