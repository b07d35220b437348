package iotmqtt

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iotcast/iotcast/internal/mqttclient"
)

// part is the work of one part, from when it is taken until its connection has ended.
type part struct {
	index  int
	share  *share
	before *part // of the same part, whose connection must end first; nil if there was none
	log    *slog.Logger

	reading  context.Context
	stop     context.CancelFunc // of reading
	ending   atomic.Bool        // reading has been stopped
	yielded  atomic.Pointer[func()]
	quit     chan struct{} // closed when nothing is waited for any more
	leaving  sync.Once
	finished chan struct{}

	up      bool  // guarded by share.mu
	failure error // why it is not up; nil while it is tried for the first time. Guarded by share.mu
}

// end has it read no more.
func (p *part) end() {
	p.ending.Store(true)
	p.stop()
}

// leave has it end its connection.
func (p *part) leave() { p.leaving.Do(func() { close(p.quit) }) }

func (p *part) run() {
	defer close(p.finished)
	defer p.share.finished(p)
	if p.before != nil {
		<-p.before.finished
		p.before = nil
	}
	in, err := newInput(p.share.cfg.part(p.index), p.share.res, p.share.metrics, p.log)
	if err != nil {
		p.log.Error("The part cannot be read", "error", err)
		p.became(false, err)
		<-p.reading.Done()
	} else {
		p.read(in)
	}
	done := p.yielded.Load()
	if done == nil {
		<-p.quit
	} else if in != nil {
		in.delivery.settle(p.quit, p.share.cfg.leases.duration)
	}
	if in != nil {
		_ = in.Close(context.Background())
		in.connection.forget()
	}
	if done != nil {
		(*done)()
	}
}

// Delays between attempts to connect, as Benthos makes them.
const (
	firstAttempt = 100 * time.Millisecond
	lastAttempt  = time.Second
)

// read hands out what the input reads, and connects it again when it was lost, until
// reading ends.
func (p *part) read(in *input) {
	delay := firstAttempt
	for p.reading.Err() == nil {
		err := in.Connect(p.reading)
		if err == nil {
			delay = firstAttempt
			p.became(true, nil)
			p.pass(in)
			p.became(false, mqttclient.ErrLost)
			continue
		}
		p.became(false, err)
		select {
		case <-time.After(delay):
		case <-p.reading.Done():
		}
		delay = min(2*delay, lastAttempt)
	}
}

// pass returns when the connection is lost, or reading has ended.
func (p *part) pass(in *input) {
	for {
		messages, ack, err := in.ReadBatch(p.reading)
		if err != nil {
			return
		}
		select {
		case p.share.out <- handed{messages, ack}:
		case <-p.reading.Done():
			in.delivery.back() // nobody has it: the broker sends it again
			return
		}
	}
}

// became notes whether it is connected. Of failures in a row the first is logged:
// Benthos logs all of them while no part is connected.
func (p *part) became(up bool, failure error) {
	if p.reading.Err() != nil {
		return
	}
	p.share.mu.Lock()
	first := p.failure == nil || errors.Is(p.failure, mqttclient.ErrLost)
	p.share.mu.Unlock()
	if failure != nil && first && !errors.Is(failure, mqttclient.ErrLost) {
		p.log.Warn("The part has no connection to the MQTT broker: trying again", "error", failure)
	}
	p.share.change(func() { p.up, p.failure = up, failure })
}
