package mqttclient

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// protocol is one version of MQTT, by a library of Paho's: CONNECT, SUBSCRIBE, PINGREQ, DISCONNECT and what answers them.
// Messages and their acknowledgements are the tap's, in either version.
type protocol interface {
	// connect sends CONNECT. It returns when that is answered, or else when the socket is closed, which it leaves to the
	// caller.
	connect(ctx context.Context) (connected, error)

	// subscribe sends SUBSCRIBE, and returns what the broker says of each filter. Its error wraps ErrLost.
	subscribe(filters []string) ([]granted, error)

	// unsubscribe sends UNSUBSCRIBE.
	unsubscribe(filters []string) error

	// disconnect sends DISCONNECT if there is a connection, closes it, and takes so long at most for what is under way.
	disconnect(within time.Duration)
}

// connected is what a broker says of a connection that it accepts.
type connected struct {
	resumed   bool
	keepAlive time.Duration // as the broker wants it; 0: as it was asked for
}

// granted is what a broker says of a topic filter.
type granted struct {
	qos     byte
	refused string // why it does not grant it; empty: it does
}

// Protocol versions, as CONNECT names them (MQTT 3.1.1, section 3.1.2.2; MQTT 5, section 3.1.2.2).
const (
	MQTT311 byte = 4
	MQTT5   byte = 5
)

func newProtocol(s *Session, u *url.URL) protocol {
	if s.client.cfg.Version == MQTT5 {
		return newMQTT5(s, u)
	}
	return newMQTT3(s, u)
}

// checkGranted fails for a filter that the broker refused.
func (s *Session) checkGranted(filters []string, answers []granted) error {
	for i, f := range filters {
		switch g := answers[i]; {
		case g.refused != "":
			return fmt.Errorf("the broker refused the topic filter %q (%s): check that this user may subscribe to it", f, g.refused)
		case g.qos < s.client.cfg.QoS:
			s.client.log.Warn("The MQTT broker granted a lower QoS than asked for", "filter", f, "asked", s.client.cfg.QoS, "granted", g.qos)
		}
	}
	return nil
}
