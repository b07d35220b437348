package mqttclient

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/eclipse/paho.golang/paho/session/state"
)

// mqtt5 is MQTT 5.
type mqtt5 struct {
	session *Session
	login   login
	paho    *paho.Client
	state   *state.State       // of SUBSCRIBE and UNSUBSCRIBE: the tap has that of messages
	up      atomic.Bool        // paho runs, and has to be ended
	ended   context.Context    // done when nothing is to be waited for any more
	end     context.CancelFunc // of ended
}

// noTimeout: SUBACK may come after all that the session has kept, and somebody has to read that first.
const noTimeout = 365 * 24 * time.Hour

func newMQTT5(s *Session, u *url.URL) *mqtt5 {
	p := &mqtt5{session: s, login: newLogin(&s.client.cfg, u), state: state.NewInMemory()}
	p.ended, p.end = context.WithCancel(context.Background())
	p.paho = paho.NewClient(paho.ClientConfig{
		Conn:               whole{s.tap},
		Session:            p.state,
		PacketTimeout:      noTimeout,
		OnServerDisconnect: func(d *paho.Disconnect) { s.lose(newDisconnected(d)) },
		OnClientError:      s.lose,
	})
	return p
}

// login is as whom to connect: what the URL says wins.
type login struct{ user, password string }

func newLogin(cfg *Config, u *url.URL) login {
	l := login{cfg.User, cfg.Password}
	if u.User != nil {
		l.user = u.User.Username()
		if password, ok := u.User.Password(); ok {
			l.password = password
		}
	}
	return l
}

// forEver is the Session Expiry Interval of a session that does not expire (MQTT 5, section 3.1.2.11.2).
const forEver = math.MaxUint32

func (p *mqtt5) connect(ctx context.Context) (connected, error) {
	cfg := &p.session.client.cfg
	properties := &paho.ConnectProperties{RequestProblemInfo: true}
	// The broker sends no more than there is room for. What it sends after these are acknowledged may find less, when
	// messages of a lost connection are still under way.
	most := uint16(min(cfg.MaxUnacked, math.MaxUint16))
	properties.ReceiveMaximum = &most
	if !cfg.CleanSession {
		expiry := sessionExpiry(cfg.SessionExpiry)
		properties.SessionExpiryInterval = &expiry
	}
	answer, err := p.paho.Connect(ctx, &paho.Connect{
		ClientID: cfg.ClientID, CleanStart: cfg.CleanSession, KeepAlive: uint16(min(cfg.KeepAlive/time.Second, math.MaxUint16)),
		UsernameFlag: p.login.user != "", Username: p.login.user,
		PasswordFlag: p.login.password != "", Password: []byte(p.login.password),
		Properties: properties,
	})
	switch {
	case answer != nil && answer.ReasonCode >= errorCodes:
		code := (&packets.Connack{ReasonCode: answer.ReasonCode}).Reason()
		refused := fmt.Errorf("refused: %s", describe(code, answer.ReasonCode, answer.Properties.ReasonString))
		return connected{}, advised(refused, hint5(answer.ReasonCode))
	case err != nil:
		return connected{}, fmt.Errorf("%w: if the broker does not speak MQTT 5, set protocol to 3.1.1", err)
	}
	p.up.Store(true)
	c := connected{resumed: answer.SessionPresent}
	asked, granted := properties.SessionExpiryInterval, answer.Properties.SessionExpiryInterval
	if granted != nil && asked != nil && *granted < *asked {
		p.session.client.log.Warn("The MQTT broker keeps the session for less than was asked for: what comes while this client is away for longer is lost",
			"kept_for", time.Duration(*granted)*time.Second)
	}
	if k := answer.Properties.ServerKeepAlive; k != nil {
		c.keepAlive = time.Duration(*k) * time.Second
	}
	return c, nil
}

func sessionExpiry(d time.Duration) uint32 {
	if d <= 0 {
		return forEver
	}
	return uint32(min((d+time.Second-1)/time.Second, forEver-1))
}

// errorCodes are from here on (MQTT 5, section 2.4).
const errorCodes = 0x80

// hint5 says what to look at for a reason code of CONNACK (MQTT 5, section 3.2.2.2).
func hint5(code byte) error {
	switch code {
	case packets.ConnackUnsupportedProtocolVersion:
		return errProtocol
	case packets.ConnackInvalidClientID:
		return errClientID
	case packets.ConnackBadUsernameOrPassword, packets.ConnackNotAuthorized:
		return ErrLogin
	}
	return nil
}

// describe is a reason code in words: those of the standard, and those of the broker if it has any.
func describe(standard string, code byte, said string) string {
	name, _, _ := strings.Cut(standard, " - ")
	text := fmt.Sprintf("%s (0x%02X)", strings.TrimSpace(name), code)
	if said != "" {
		text += fmt.Sprintf(", %.200q", said)
	}
	return text
}

// disconnected is why the broker has ended a connection, as its DISCONNECT says.
type disconnected struct{ reason string }

func newDisconnected(d *paho.Disconnect) *disconnected {
	said := ""
	if d.Properties != nil {
		said = d.Properties.ReasonString
	}
	return &disconnected{describe((&packets.Disconnect{ReasonCode: d.ReasonCode}).Reason(), d.ReasonCode, said)}
}

func (d *disconnected) Error() string { return "the broker ended it: " + d.reason }

func (p *mqtt5) subscribe(filters []string) ([]granted, error) {
	cfg := &p.session.client.cfg
	asked := &paho.Subscribe{}
	for _, f := range filters {
		asked.Subscriptions = append(asked.Subscriptions, paho.SubscribeOptions{
			Topic: f, QoS: cfg.QoS, RetainHandling: cfg.RetainHandling, NoLocal: cfg.NoLocal,
		})
	}
	ctx, done := p.waiting()
	defer done()
	answer, err := p.paho.Subscribe(ctx, asked)
	if answer == nil {
		return nil, p.failed(err)
	}
	if len(answer.Reasons) != len(filters) {
		return nil, fmt.Errorf("%w: the broker answered for %d of %d topic filters", ErrLost, len(answer.Reasons), len(filters))
	}
	answers := make([]granted, len(filters))
	for i, code := range answer.Reasons {
		if code >= errorCodes {
			answers[i].refused = describe((&packets.Suback{Reasons: answer.Reasons}).Reason(i), code, answer.Properties.ReasonString)
		} else {
			answers[i].qos = code
		}
	}
	return answers, nil
}

// unsubscribe: that a broker does not let go of a filter is no reason to do without the others.
func (p *mqtt5) unsubscribe(filters []string) error {
	ctx, done := p.waiting()
	defer done()
	answer, err := p.paho.Unsubscribe(ctx, &paho.Unsubscribe{Topics: filters})
	if answer == nil {
		return p.failed(err)
	}
	for i, code := range answer.Reasons {
		if code >= errorCodes && i < len(filters) {
			p.session.client.log.Warn("The MQTT broker does not end a subscription", "filter", filters[i],
				"reason", describe((&packets.Unsuback{Reasons: answer.Reasons}).Reason(i), code, answer.Properties.ReasonString))
		}
	}
	return nil
}

// waiting ends with the session.
func (p *mqtt5) waiting() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(p.ended)
	go func() {
		select {
		case <-p.session.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// failed is the error of a request that was not answered. What paho refuses to send, since CONNACK says that the broker
// cannot do it, is no lost connection.
func (p *mqtt5) failed(err error) error {
	if errors.Is(err, paho.ErrInvalidArguments) {
		return err
	}
	if p.session.Lost() {
		return ErrLost
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

func (p *mqtt5) disconnect(time.Duration) {
	p.end()
	if p.up.Load() {
		_ = p.paho.Disconnect(&paho.Disconnect{})
	}
	_ = p.state.Close()
}

// whole is the tap for a library that writes a packet in several pieces, with the lock taken.
type whole struct{ *tap }

func (w whole) Lock()   { w.mu.Lock() }
func (w whole) Unlock() { w.mu.Unlock() }

// Write: the caller must hold the lock.
func (w whole) Write(p []byte) (int, error) { return w.Conn.Write(p) }
