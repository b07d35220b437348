package iotmqtt

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/lease"
	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/plugins/internal/logging"
)

// share is an input of those parts that this process holds leases on: one input for
// each (part.go), with a session of its own, and all of them feed this one.
//
// The lease decides who connects, and no more. That nothing is lost and that each
// device is in order is for the session: the broker ends the connection of one holder
// when the next comes [MQTT-3.1.4-2], and sends the next what the one before has not
// acknowledged, in order [MQTT-4.4.0-1, MQTT-4.6.0-1]. If both hand a message out, it
// comes twice, as after a crash; and since each hands out in order, so are the first
// times.
type share struct {
	cfg     config
	res     *service.Resources
	metrics metrics
	held    *service.MetricGauge
	log     *slog.Logger

	bucket *lease.Bucket
	member *lease.Member
	began  sync.Once
	end    context.CancelFunc // of member
	ended  chan struct{}

	out      chan handed
	stopping sync.Once

	mu      sync.Mutex
	parts   map[int]*part // held, or being ended
	joined  bool
	noLease error
	stopped bool          // begin nothing any more
	changed chan struct{} // closed at each change of the above
}

// handed is a batch on its way from a part's input to the pipeline.
type handed struct {
	messages service.MessageBatch
	ack      service.AckFunc
}

var (
	_ service.BatchInput         = (*share)(nil)
	_ service.ConnectionTestable = (*share)(nil)
	_ lease.Holder               = (*share)(nil)
)

func newShare(cfg config, res *service.Resources) (*share, error) {
	log := logging.New(res.Logger())
	s := &share{
		cfg: cfg, res: res, metrics: newMetrics(res.Metrics()).zeroed(), held: res.Metrics().NewGauge("iot_mqtt_parts"), log: log,
		ended: make(chan struct{}), out: make(chan handed), parts: make(map[int]*part), changed: make(chan struct{}),
	}
	if _, err := newInput(cfg.part(0), res, s.metrics, log); err != nil { // so that Hold does not fail
		return nil, err
	}
	s.held.Set(0)
	bucket := cfg.leases.bucket
	bucket.Key = cfg.session.ClientID
	s.bucket = lease.NewBucket(bucket, log)
	s.member = lease.New(lease.Config{Member: memberName(), Parts: cfg.leases.parts, Duration: cfg.leases.duration}, s.bucket, s, log)
	return s, nil
}

// Connect implements service.BatchInput. It returns when a part is connected, or it is
// known that there is none for this process.
func (s *share) Connect(ctx context.Context) error {
	s.began.Do(func() {
		var run context.Context
		run, s.end = context.WithCancel(context.Background())
		go func() {
			defer close(s.ended)
			s.member.Run(run)
		}()
	})
	for {
		up, changed, err := s.state()
		if up || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// state says whether there is a connection, or none is needed, and why there is none.
// It says neither while the first is being made.
func (s *share) state() (up bool, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noLease != nil {
		return false, s.changed, s.noLease
	}
	held, failed := 0, 0
	for _, p := range s.parts {
		switch {
		case p.ending.Load():
			continue
		case p.up:
			return true, s.changed, nil
		case p.failure != nil:
			failed++
			err = p.failure
		}
		held++
	}
	if failed < held {
		err = nil
	}
	return s.joined && held == 0, s.changed, err
}

// change changes what state tells of.
func (s *share) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	held := 0
	for _, p := range s.parts {
		if !p.ending.Load() {
			held++
		}
	}
	s.held.Set(int64(held))
	close(s.changed)
	s.changed = make(chan struct{})
}

// Status implements lease.Holder.
func (s *share) Status(err error) {
	s.mu.Lock()
	same := s.joined && err == nil && s.noLease == nil
	s.mu.Unlock()
	if !same {
		s.change(func() { s.joined, s.noLease = s.joined || err == nil, err })
	}
}

// Hold implements lease.Holder.
func (s *share) Hold(index int) {
	s.change(func() {
		if s.stopped {
			return
		}
		p := &part{
			index: index, share: s, before: s.parts[index], log: s.log.With("part", index),
			quit: make(chan struct{}), finished: make(chan struct{}),
		}
		p.reading, p.stop = context.WithCancel(context.Background())
		s.parts[index] = p
		go p.run()
	})
}

// Yield implements lease.Holder.
func (s *share) Yield(index int, done func()) {
	s.change(func() {
		p := s.parts[index]
		if p == nil { // it was not begun, since the stream ends
			done()
			return
		}
		p.yielded.Store(&done)
		p.end()
	})
}

// Drop implements lease.Holder.
func (s *share) Drop(index int) {
	s.change(func() {
		if p := s.parts[index]; p != nil {
			p.end()
			p.leave()
		}
	})
}

// finished takes out a part whose input is closed.
func (s *share) finished(p *part) {
	s.change(func() {
		if s.parts[p.index] == p {
			delete(s.parts, p.index)
		}
	})
}

// ReadBatch implements service.BatchInput.
func (s *share) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	// Benthos cancels ctx, the same in every call, when the input is to stop. The
	// leases are kept until what is under way is acknowledged.
	s.stopping.Do(func() { context.AfterFunc(ctx, s.stopReading) })
	for {
		_, changed, err := s.state()
		if err != nil {
			return nil, nil, service.ErrNotConnected
		}
		select {
		case h := <-s.out:
			return h.messages, h.ack, nil
		case <-changed:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

func (s *share) stopReading() {
	s.change(func() {
		s.stopped = true
		for _, p := range s.parts {
			p.end()
		}
	})
}

// Close implements service.BatchInput: all connections end, and then the leases, so that
// others take the parts at once.
func (s *share) Close(ctx context.Context) error {
	s.stopReading()
	s.mu.Lock()
	var all []*part
	for _, p := range s.parts {
		p.leave()
		all = append(all, p)
	}
	s.mu.Unlock()
	for _, p := range all {
		<-p.finished
	}
	s.began.Do(func() { close(s.ended) }) // it never began
	if s.end != nil {
		s.end()
	}
	<-s.ended
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s.member.Leave(ctx)
	s.bucket.Close()
	return nil
}

// ConnectionTest implements service.ConnectionTestable: of the MQTT broker and of NATS.
func (s *share) ConnectionTest(ctx context.Context) service.ConnectionTestResults {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.session.ConnectTimeout)
	defer cancel()
	bucket := lease.NewBucket(s.cfg.leases.bucket, s.log)
	defer bucket.Close()
	if err := errors.Join(mqttclient.New(s.cfg.session, s.log).Test(ctx), bucket.Test(ctx)); err != nil {
		return service.ConnectionTestFailed(err).AsList()
	}
	return service.ConnectionTestSucceeded().AsList()
}
