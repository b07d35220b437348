// Package mqttclient is one MQTT 3.1.1 session of a subscriber that loses
// nothing: it acknowledges by hand, in order, and only what its user has
// finished with.
//
// Connecting, subscribing, keeping alive and all the rest of the protocol are
// paho's. Ours are the messages themselves, from the wire to the user, and
// their acknowledgements; see tap.
package mqttclient

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Config says where to connect, as whom, and what to subscribe to.
type Config struct {
	URLs           []string // tcp, mqtt, ssl, tls, mqtts, ws, wss, unix; tried in order
	ClientID       string
	User           string
	Password       string
	TLS            *tls.Config
	KeepAlive      time.Duration
	ConnectTimeout time.Duration
	CleanSession   bool
	Filters        []string
	Unsubscribe    []string // filters that a resumed session may still have; those of Filters stay
	QoS            byte
	MaxUnacked     int // messages received and not yet acknowledged
}

// Message is one PUBLISH as it came.
type Message struct {
	Topic      string
	Payload    []byte
	QoS        byte
	Retained   bool
	Duplicate  bool
	ID         uint16 // packet identifier; 0 at QoS 0
	ReceivedAt time.Time

	done bool // acknowledged by the user; guarded by Session.mu
}

// ErrLost is returned by Session.Pop when the connection is gone and all that
// had to be handed out has been, and by Connect when it goes before all is
// subscribed.
var ErrLost = errors.New("connection to the MQTT broker lost")

// Connect opens a session: CONNECT, then SUBSCRIBE, each answered. The error
// says which of them failed, and names the broker or the filter.
func Connect(ctx context.Context, cfg Config, log *slog.Logger) (*Session, error) {
	s := newSession(cfg, log)
	s.client = mqtt.NewClient(s.options())
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()

	connect := s.client.Connect().(*mqtt.ConnectToken)
	if err := wait(ctx, connect); err != nil {
		s.Close()
		return nil, fmt.Errorf("connecting to MQTT broker %v: %w%s", cfg.URLs, err, hint(connect.ReturnCode()))
	}
	s.Resumed = connect.SessionPresent()

	subscribed := make(chan error, 1)
	go func() { subscribed <- s.subscribe() }()
	defer signal(s.arrived) // what is taken from it here is Pop's
	for {
		select {
		case err := <-subscribed:
			if err != nil {
				s.Close()
				return nil, err
			}
			return s, nil
		case <-s.arrived:
			// What a persistent session or retained messages bring may come before
			// the answer: more than there is room for, and then there is no answer
			// until somebody reads from the session.
			if n, _ := s.Unacked(); n >= cfg.MaxUnacked {
				go s.loseUnless(subscribed)
				return s, nil
			}
		case <-ctx.Done():
			s.Close()
			return nil, fmt.Errorf("subscribing on MQTT broker %v: %w", cfg.URLs, noAnswer(ctx))
		}
	}
}

// subscribe subscribes, and then drops what an earlier configuration has
// subscribed to: after, so that no message falls between an old filter and a new
// one that both cover it.
func (s *Session) subscribe() error {
	filters := make(map[string]byte, len(s.cfg.Filters))
	for _, f := range s.cfg.Filters {
		filters[f] = s.cfg.QoS
	}
	subscribe := s.client.SubscribeMultiple(filters, nil).(*mqtt.SubscribeToken)
	err := s.answer(subscribe)
	if err == nil {
		err = s.checkGranted(subscribe.Result())
	}
	if err != nil {
		return fmt.Errorf("subscribing on MQTT broker %v: %w", s.cfg.URLs, err)
	}
	old := slices.DeleteFunc(slices.Clone(s.cfg.Unsubscribe), func(f string) bool { return slices.Contains(s.cfg.Filters, f) })
	if !s.Resumed || len(old) == 0 {
		return nil
	}
	if err := s.answer(s.client.Unsubscribe(old...)); err != nil {
		return fmt.Errorf("unsubscribing on MQTT broker %v: %w", s.cfg.URLs, err)
	}
	return nil
}

// answer waits for the broker's, or for the end of the session.
func (s *Session) answer(t mqtt.Token) error {
	select {
	case <-t.Done():
	case <-s.ended:
		return ErrLost
	}
	if err := t.Error(); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}

// loseUnless ends the session if subscribing has failed after all.
func (s *Session) loseUnless(subscribed <-chan error) {
	if err := <-subscribed; err != nil {
		s.lose(err)
		_ = s.tap.Close()
	}
}

// options: no automatic reconnection, since it would hide whether the session
// survived.
func (s *Session) options() *mqtt.ClientOptions {
	cfg := &s.cfg
	o := mqtt.NewClientOptions()
	for _, u := range cfg.URLs {
		o.AddBroker(u)
	}
	return o.SetClientID(cfg.ClientID).
		SetUsername(cfg.User).
		SetPassword(cfg.Password).
		SetTLSConfig(cfg.TLS).
		SetKeepAlive(cfg.KeepAlive).
		SetPingTimeout(cfg.KeepAlive).
		SetConnectTimeout(cfg.ConnectTimeout).
		SetWriteTimeout(cfg.ConnectTimeout).
		SetProtocolVersion(4).
		SetCleanSession(cfg.CleanSession).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetCustomOpenConnectionFn(s.open).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { s.lose(err) })
}

func wait(ctx context.Context, t mqtt.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-ctx.Done():
		return noAnswer(ctx)
	}
}

func noAnswer(ctx context.Context) error { return fmt.Errorf("no answer: %w", ctx.Err()) }

// hint says what to look at for a CONNACK return code (MQTT 3.1.1, section
// 3.2.2.3).
func hint(code byte) string {
	switch code {
	case packets.ErrRefusedIDRejected:
		return ": the broker does not accept this client_id"
	case packets.ErrRefusedBadUsernameOrPassword, packets.ErrRefusedNotAuthorised:
		return ": check user, password and tls"
	}
	return ""
}

// checkGranted fails for a filter that the broker refused. SUBACK says so with
// the return code 0x80 (MQTT 3.1.1, section 3.9.3), which paho does not take
// for an error.
func (s *Session) checkGranted(granted map[string]byte) error {
	filters := slices.Clone(s.cfg.Filters)
	slices.Sort(filters)
	for _, f := range filters {
		switch qos := granted[f]; {
		case qos == 0x80:
			return fmt.Errorf("the broker refused the topic filter %q: check that this user may subscribe to it", f)
		case qos < s.cfg.QoS:
			s.log.Warn("The MQTT broker granted a lower QoS than asked for", "filter", f, "asked", s.cfg.QoS, "granted", qos)
		}
	}
	return nil
}
