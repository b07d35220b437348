// Package mqttclient is one session of a subscriber, over MQTT 3.1.1 or 5, that
// loses nothing: it acknowledges by hand, in order, and only what its user has
// finished with.
//
// Connecting, subscribing, keeping alive and all the rest of the protocol are
// Paho's: mqtt3.go and mqtt5.go, behind one interface, protocol. Ours are the
// messages themselves, from the wire to the user, and their acknowledgements;
// see tap.
package mqttclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/iotcast/iotcast/internal/socketerr"
)

// Config says where to connect, as whom, and what to subscribe to.
type Config struct {
	URLs           []*url.URL // as of ParseURLs; tried in order
	ClientID       string
	User           string
	Password       string
	TLS            func() (*tls.Config, error) // asked for each connection, since files change; nil for the defaults
	KeepAlive      time.Duration
	ConnectTimeout time.Duration // for each URL
	CleanSession   bool
	Filters        []string
	Unsubscribe    []string // filters that a resumed session may still have; those of Filters stay
	QoS            byte
	MaxUnacked     int  // messages received and not yet acknowledged, of all sessions of a client together
	Version        byte // MQTT311 or MQTT5; 0 is the former

	// What only MQTT 5 has.
	SessionExpiry  time.Duration // how long the broker keeps a session that is not clean, in whole seconds; 0: for ever
	RetainHandling byte          // MQTT 5, section 3.8.3.1
	NoLocal        bool
}

// Client connects, one after the other, the sessions of one subscriber.
type Client struct {
	cfg   Config
	log   *slog.Logger
	held  atomic.Int64  // messages that its sessions hold, those of lost ones included
	freed chan struct{} // capacity 1: held has shrunk by much
}

// New makes a client, which is not connected yet.
func New(cfg Config, log *slog.Logger) *Client {
	return &Client{cfg: cfg, log: log, freed: make(chan struct{}, 1)}
}

// room is how many messages more may be held.
func (c *Client) room() int { return c.cfg.MaxUnacked - int(c.held.Load()) }

// Message is one PUBLISH as it came.
type Message struct {
	Topic      string
	Payload    []byte
	QoS        byte
	Retained   bool
	Duplicate  bool
	ID         uint16 // packet identifier; 0 at QoS 0
	ReceivedAt time.Time
	Properties *Properties // nil: it has none, as any of MQTT 3.1.1

	done bool // acknowledged by the user; guarded by Session.mu
	held bool // counted in Client.held; guarded by Session.mu
}

// ErrLost is returned by Session.Pop when the connection is gone and all that
// had to be handed out has been, and by Connect when it goes before all is
// subscribed.
var ErrLost = errors.New("connection to the MQTT broker lost")

// Why a broker refuses a connection, in words that say what to look at.
var (
	ErrLogin    = errors.New("check user, password and tls")
	errNobody   = errors.New("nothing listens there: check that the broker runs, and host and port of the URL")
	errClientID = errors.New("the broker does not accept this client_id")
	errProtocol = errors.New("set protocol to 3.1.1")
	errRights   = errors.New("some brokers end it when the user may not subscribe to a topic filter")
)

// advised adds to an error what to look at, if that is known.
func advised(err, hint error) error {
	if hint == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, hint)
}

// Connect opens a session: CONNECT, then SUBSCRIBE, each answered. Each URL has the
// whole of the timeout, so that one that hangs does not keep the next from being
// tried. The error says of each what failed, and names the broker or the filter.
func (c *Client) Connect(ctx context.Context) (*Session, error) {
	var failed error
	for _, u := range c.cfg.URLs {
		s, err := c.connect(ctx, u)
		switch {
		case err == nil:
			return s, nil
		case failed == nil:
			failed = err
		default:
			failed = fmt.Errorf("%w; %w", failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

func (c *Client) connect(ctx context.Context, u *url.URL) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.ConnectTimeout)
	defer cancel()
	s, err := c.open(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("connecting to MQTT broker %s: %w", Redacted(u), err)
	}
	if err := s.begin(ctx); err != nil {
		s.abandon()
		var hint error
		if errors.Is(err, ErrLost) { // MQTT 3.1.1, 3.9.3 has a code for a filter that is refused, but RabbitMQ 3.10 hangs up
			hint = errRights
		}
		return nil, fmt.Errorf("subscribing on MQTT broker %s: %w", Redacted(u), advised(err, hint))
	}
	return s, nil
}

// Test connects with a clean session under a client ID of its own, subscribes to
// nothing, and disconnects: neither the broker nor another client notices more.
func (c *Client) Test(ctx context.Context) error {
	cfg := c.cfg
	cfg.ClientID, cfg.CleanSession, cfg.Filters, cfg.Unsubscribe = cfg.ClientID+"-test", true, nil, nil
	s, err := New(cfg, c.log).Connect(ctx)
	if err != nil {
		return err
	}
	s.Close()
	return nil
}

// open connects: CONNECT, answered.
func (c *Client) open(ctx context.Context, u *url.URL) (*Session, error) {
	var config *tls.Config
	if c.cfg.TLS != nil {
		var err error
		if config, err = c.cfg.TLS(); err != nil {
			return nil, err
		}
	}
	link, err := dial(ctx, u, config)
	if err != nil {
		var hint error
		if socketerr.IsRefused(err) {
			hint = errNobody
		}
		return nil, advised(err, hint)
	}
	s := newSession(c)
	s.tap = newTap(link.conn, s.receive)
	s.tap.properties = c.cfg.Version == MQTT5
	s.tap.setKeepAlive(c.cfg.KeepAlive)
	s.socket = link.socket
	s.protocol = newProtocol(s, u)

	giveUp := context.AfterFunc(ctx, s.abandon)
	answer, err := s.protocol.connect(ctx) // returns at the latest when it is given up
	if !giveUp() {
		return nil, noAnswer(ctx)
	}
	if err != nil {
		s.abandon()
		return nil, err
	}
	if answer.keepAlive > 0 {
		s.tap.setKeepAlive(answer.keepAlive)
	}
	s.Resumed = answer.resumed
	s.flow.answer = time.Since(s.opened)
	return s, nil
}

// begin subscribes.
func (s *Session) begin(ctx context.Context) error {
	subscribed := make(chan error, 1)
	go func() { subscribed <- s.subscribe() }()
	defer signal(s.arrived) // what is taken from it here is Pop's
	for {
		select {
		case err := <-subscribed:
			return err
		case <-s.arrived:
			// What a persistent session or retained messages bring may come before
			// the answer: more than there is room for, and then there is no answer
			// until somebody reads from the session.
			if s.client.room() <= 0 {
				go s.loseUnless(subscribed)
				return nil
			}
		case <-ctx.Done():
			return noAnswer(ctx)
		}
	}
}

// filtersPerPacket is how many filters AWS IoT takes in a SUBSCRIBE: with more it
// ends the connection.
const filtersPerPacket = 8

// subscribe subscribes, and then drops what an earlier configuration has
// subscribed to: after, so that no message falls between an old filter and a new
// one that both cover it.
func (s *Session) subscribe() error {
	cfg := &s.client.cfg
	for filters := range slices.Chunk(cfg.Filters, filtersPerPacket) {
		answers, err := s.protocol.subscribe(filters)
		if err == nil {
			err = s.checkGranted(filters, answers)
		}
		if err != nil {
			return err
		}
	}
	if !s.Resumed {
		return nil
	}
	old := slices.DeleteFunc(slices.Clone(cfg.Unsubscribe), func(f string) bool { return slices.Contains(cfg.Filters, f) })
	for filters := range slices.Chunk(old, filtersPerPacket) {
		if err := s.protocol.unsubscribe(filters); err != nil {
			return fmt.Errorf("unsubscribing: %w", err)
		}
	}
	return nil
}

// loseUnless ends the session if subscribing has failed after all. Where the session
// was closed first, its DISCONNECT may still be on its way.
func (s *Session) loseUnless(subscribed <-chan error) {
	if err := <-subscribed; err != nil && !s.Lost() {
		s.lose(err)
		_ = s.tap.Close()
	}
}

func noAnswer(ctx context.Context) error { return fmt.Errorf("no answer: %w", ctx.Err()) }
