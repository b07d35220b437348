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
// had to be handed out has been.
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

	filters := make(map[string]byte, len(cfg.Filters))
	for _, f := range cfg.Filters {
		filters[f] = cfg.QoS
	}
	subscribe := s.client.SubscribeMultiple(filters, nil).(*mqtt.SubscribeToken)
	err := wait(ctx, subscribe)
	if err == nil {
		err = s.checkGranted(subscribe.Result())
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("subscribing on MQTT broker %v: %w", cfg.URLs, err)
	}
	if err := s.unsubscribe(ctx); err != nil {
		s.Close()
		return nil, fmt.Errorf("unsubscribing on MQTT broker %v: %w", cfg.URLs, err)
	}
	return s, nil
}

// unsubscribe drops what an earlier configuration has subscribed to. It comes
// after SUBSCRIBE, so that no message falls between an old filter and a new one
// that both cover it.
func (s *Session) unsubscribe(ctx context.Context) error {
	old := slices.DeleteFunc(slices.Clone(s.cfg.Unsubscribe), func(f string) bool { return slices.Contains(s.cfg.Filters, f) })
	if !s.Resumed || len(old) == 0 {
		return nil
	}
	return wait(ctx, s.client.Unsubscribe(old...))
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
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
}

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
