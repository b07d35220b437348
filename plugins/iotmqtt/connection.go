package iotmqtt

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/iotcast/iotcast/internal/mqttclient"
)

// connection is to the broker: one session after the other, and the metrics of what
// waits in it.
type connection struct {
	client  *mqttclient.Client
	cfg     mqttclient.Config
	metrics metrics
	log     *slog.Logger

	rivalry  rivalry  // of leave alone
	refusals refusals // of leave alone
	cutShort bool     // of leave and open alone: the last one was, before it had subscribed
	refused  bool     // of leave and open alone: the last login was
	before   bool     // of open alone: a session was there at least once

	watching sync.Once
	watched  chan struct{} // closed when watch has ended
	closed   chan struct{}

	mu      sync.Mutex // Close may come while Connect runs
	session *mqttclient.Session
}

func newConnection(cfg mqttclient.Config, metrics metrics, log *slog.Logger) *connection {
	return &connection{
		client: mqttclient.New(cfg, log), cfg: cfg, metrics: metrics, log: log,
		watched: make(chan struct{}), closed: make(chan struct{}),
	}
}

// leave ends the session that was, if need be after a wait: see rivalry and refusals.
func (c *connection) leave(ctx context.Context) error {
	last := c.current()
	cutShort := c.cutShort || last != nil && last.CutShort(shortLife)
	if err := c.rivalry.wait(ctx, cutShort, c.log); err != nil {
		return err
	}
	if err := c.refusals.wait(ctx, c.refused); err != nil {
		return err
	}
	c.end()
	return nil
}

// open connects and subscribes.
func (c *connection) open(ctx context.Context) (*mqttclient.Session, error) {
	s, err := c.client.Connect(ctx)
	c.cutShort, c.refused = errors.Is(err, mqttclient.ErrLost), errors.Is(err, mqttclient.ErrLogin)
	if err != nil {
		return nil, err
	}
	log := c.log.With("client_id", c.cfg.ClientID, "topics", c.cfg.Filters)
	switch {
	case s.Resumed:
		log.Info("Resumed the session on the MQTT broker")
	case c.before && !c.cfg.CleanSession:
		c.metrics.sessionLost.Incr(1)
		log.Warn("The MQTT broker has lost the session: messages that it kept for this client may be lost")
	default:
		log.Info("Subscribed on the MQTT broker")
	}
	if filters := doubtful(c.cfg.Filters); len(filters) > 0 && !c.before {
		log.Warn("Not every MQTT broker delivers to a shared subscription, though it grants it, and some do not for topics that begin with $: "+
			"if nothing arrives, set partition instead of share_group (see docs/which-broker.md)", "filters", filters)
	}
	c.before = true
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	c.watching.Do(func() { go c.watch() })
	return s, nil
}

// watch keeps the metrics true while nothing is read, which is when they matter.
func (c *connection) watch() {
	defer close(c.watched)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if s := c.current(); s != nil {
				c.observe(s)
			}
		case <-c.closed:
			return
		}
	}
}

// unwatch ends watch.
func (c *connection) unwatch() {
	close(c.closed)
	c.watching.Do(func() { close(c.watched) }) // it never began
	<-c.watched
}

func (c *connection) observe(s *mqttclient.Session) {
	n, oldest := s.Unacked()
	c.metrics.waiting.set(c, n, oldest)
	if d := s.TakeDropped(); d > 0 {
		c.metrics.dropped.Incr(d)
		c.log.Warn("Messages were dropped that the MQTT broker will not send again, for want of room or since the stream has stopped: where they come too fast, raise max_unacked or make the pipeline faster; to lose none of QoS 1 and 2, set clean_session to false",
			"messages", d, "max_unacked", c.cfg.MaxUnacked)
	}
}

// end closes the session, if there is one.
func (c *connection) end() {
	c.mu.Lock()
	s := c.session
	c.session = nil
	c.mu.Unlock()
	if s != nil {
		s.Close()
		c.observe(s) // what was dropped since watch has looked
	}
}

// forget takes it out of the metrics of what waits: it has ended, or another has its session.
func (c *connection) forget() { c.metrics.waiting.set(c, 0, time.Time{}) }

func (c *connection) current() *mqttclient.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}
