package mqttclient

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// mqtt3 is MQTT 3.1.1.
type mqtt3 struct {
	session *Session
	paho    mqtt.Client
}

// newMQTT3: no automatic reconnection, since it would hide whether the session survived.
func newMQTT3(s *Session, u *url.URL) *mqtt3 {
	cfg := &s.client.cfg
	o := mqtt.NewClientOptions()
	o.Servers = []*url.URL{u} // a user and a password in it win
	o.SetClientID(cfg.ClientID).
		SetUsername(cfg.User).
		SetPassword(cfg.Password).
		SetKeepAlive(cfg.KeepAlive).
		SetPingTimeout(cfg.KeepAlive).
		SetConnectTimeout(cfg.ConnectTimeout).
		SetWriteTimeout(cfg.ConnectTimeout).
		SetProtocolVersion(uint(MQTT311)).
		SetCleanSession(cfg.CleanSession).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) { return s.tap, nil }).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { s.lose(err) })
	return &mqtt3{session: s, paho: mqtt.NewClient(o)}
}

func (p *mqtt3) connect(context.Context) (connected, error) {
	token := p.paho.Connect().(*mqtt.ConnectToken)
	<-token.Done()
	if err := token.Error(); err != nil {
		return connected{}, advised(err, hint3(token.ReturnCode()))
	}
	return connected{resumed: token.SessionPresent()}, nil
}

// hint3 says what to look at for a CONNACK return code (MQTT 3.1.1, section 3.2.2.3).
func hint3(code byte) error {
	switch code {
	case packets.ErrRefusedIDRejected:
		return errClientID
	case packets.ErrRefusedBadUsernameOrPassword, packets.ErrRefusedNotAuthorised:
		return ErrLogin
	}
	return nil
}

// refused3 is the return code of SUBACK for a filter that is not granted (MQTT 3.1.1, section 3.9.3). paho does not take it
// for an error.
const refused3 = 0x80

func (p *mqtt3) subscribe(filters []string) ([]granted, error) {
	asked := make(map[string]byte, len(filters))
	for _, f := range filters {
		asked[f] = p.session.client.cfg.QoS
	}
	token := p.paho.SubscribeMultiple(asked, nil).(*mqtt.SubscribeToken)
	if err := p.answer(token); err != nil {
		return nil, err
	}
	answers := make([]granted, len(filters))
	for i, f := range filters {
		if code := token.Result()[f]; code == refused3 {
			answers[i].refused = "code 0x80"
		} else {
			answers[i].qos = code
		}
	}
	return answers, nil
}

func (p *mqtt3) unsubscribe(filters []string) error { return p.answer(p.paho.Unsubscribe(filters...)) }

// answer waits for the broker's, or for the end of the session.
func (p *mqtt3) answer(t mqtt.Token) error {
	select {
	case <-t.Done():
	case <-p.session.ended:
		return ErrLost
	}
	if err := t.Error(); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}

// disconnect: paho waits so long at most for its writer and for the tap to close, and else cuts off the last
// acknowledgements.
func (p *mqtt3) disconnect(within time.Duration) { p.paho.Disconnect(uint(within.Milliseconds())) }
