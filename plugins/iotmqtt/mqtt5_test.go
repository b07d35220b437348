package iotmqtt_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"
	"github.com/redpanda-data/benthos/v4/public/service"
)

// publisher5 publishes with properties.
func publisher5(t *testing.T, port string) func(topic, payload string, properties *paho.PublishProperties) {
	t.Helper()
	nc, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(nc)})
	if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: "publisher5", CleanStart: true, KeepAlive: 60}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	return func(topic, payload string, properties *paho.PublishProperties) {
		t.Helper()
		_, err := c.Publish(t.Context(), &paho.Publish{Topic: topic, QoS: 1, Payload: []byte(payload), Properties: properties})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestProperties(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher5(t, port)
	var got received
	run(t, port, "broker_id: b\nprotocol: 5", got.add)
	publish("t", "with", &paho.PublishProperties{
		PayloadFormat: new(byte(1)), MessageExpiry: new(uint32(3600)), ContentType: "application/json",
		ResponseTopic: "answers/1", CorrelationData: []byte{0, 0xff},
		User: paho.UserProperties{{Key: "time", Value: "2026-01-02T03:04:05Z"}, {Key: "tag", Value: "a"}, {Key: "tag", Value: "b"}, {Key: "", Value: "no name"}},
	})
	publish("t", "without", nil)
	eventually(t, func() bool { return len(got.payloads()) == 2 })
	keys := map[string]string{
		"mqtt_payload_utf8": "true", "mqtt_message_expiry": "3600",
		"mqtt_content_type": "application/json", "mqtt_response_topic": "answers/1",
		"mqtt_correlation_data": "\x00\xff", "mqtt_user_property_time": "2026-01-02T03:04:05Z", "mqtt_user_property_tag": "a, b", "mqtt_user_property_": "no name",
	}
	for key, want := range keys {
		if value, _ := got.messages[0].MetaGet(key); value != want {
			t.Errorf("%s is %q, want %q", key, value, want)
		}
		if value, ok := got.messages[1].MetaGet(key); ok {
			t.Errorf("a message without properties has %s: %q", key, value)
		}
	}
}

// TestExpiry: what has waited for longer than its publisher wants is not sent, acknowledged and counted; the rest comes.
func TestExpiry(t *testing.T) {
	t.Parallel()
	_, port := startBroker(t)
	publish := publisher5(t, port)
	var mu sync.Mutex
	down, tries := true, 0
	var got received
	metrics := measure(t, port, "broker_id: b\nprotocol: 5\nbatching: { count: 3, period: 10s }", func(ctx context.Context, b service.MessageBatch) error {
		mu.Lock()
		defer mu.Unlock()
		if down {
			tries++
			return errors.New("down")
		}
		return got.add(ctx, b)
	})
	publish("t", "short", &paho.PublishProperties{MessageExpiry: new(uint32(1))})
	publish("t", "long", &paho.PublishProperties{MessageExpiry: new(uint32(3600))})
	publish("t", "endless", nil)
	eventually(t, func() bool { return metrics.value("iot_mqtt_expired") == 1 })
	for range 3 { // all of a batch
		publish("t", "short", &paho.PublishProperties{MessageExpiry: new(uint32(1))})
	}
	eventually(t, func() bool { return metrics.value("iot_mqtt_expired") == 4 })
	mu.Lock()
	down = false
	if tries == 0 {
		t.Error("nothing was tried")
	}
	mu.Unlock()
	eventually(t, func() bool { return len(got.payloads()) == 2 })
	if p := strings.Join(got.payloads(), " "); p != "long endless" {
		t.Error(p)
	}
	eventually(t, func() bool { return metrics.value("iot_mqtt_unacked") == 0 })
}

// TestReasons: what a broker says of a refusal is in the log, with what to do.
func TestReasons(t *testing.T) {
	none := &packets.Properties{}
	because := &packets.Properties{ReasonString: "the licence has ended"}
	accept := &packets.Connack{Properties: none}
	for name, tc := range map[string]struct {
		connack    *packets.Connack
		suback     *packets.Suback
		disconnect *packets.Disconnect
		three      bool
		want       string
	}{
		"login":          {connack: &packets.Connack{ReasonCode: packets.ConnackBadUsernameOrPassword, Properties: none}, want: "refused: Bad User Name or Password (0x86): check user, password and tls"},
		"in words":       {connack: &packets.Connack{ReasonCode: packets.ConnackQuotaExceeded, Properties: because}, want: `refused: Quota exceeded (0x97), \"the licence has ended\"`},
		"version":        {connack: &packets.Connack{ReasonCode: packets.ConnackUnsupportedProtocolVersion, Properties: none}, want: "set protocol to 3.1.1"},
		"only 3.1.1":     {three: true, want: "if the broker does not speak MQTT 5, set protocol to 3.1.1"},
		"filter":         {connack: accept, suback: &packets.Suback{Reasons: []byte{packets.SubackNotauthorized}, Properties: because}, want: `refused the topic filter \"#\" (Not authorized (0x87), \"the licence has ended\")`},
		"session taken":  {connack: accept, suback: &packets.Suback{Reasons: []byte{1}, Properties: none}, disconnect: &packets.Disconnect{ReasonCode: packets.DisconnectSessionTakenOver, Properties: none}, want: "the broker ended it: Session taken over (0x8E)"},
		"before SUBACK":  {connack: accept, disconnect: &packets.Disconnect{ReasonCode: packets.DisconnectServerShuttingDown, Properties: none}, want: "the broker ended it: Server shutting down (0x8B)"},
		"no wildcards":   {connack: &packets.Connack{Properties: &packets.Properties{WildcardSubAvailable: new(byte(0))}}, want: "server does not support wildcards"},
		"short sessions": {connack: &packets.Connack{Properties: &packets.Properties{SessionExpiryInterval: new(uint32(60))}}, suback: &packets.Suback{Reasons: []byte{1}, Properties: none}, want: "keeps the session for less than was asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, _ := hanging(t, func(nc net.Conn) {
				if _, err := packets.ReadPacket(nc); err != nil {
					return
				}
				if tc.three {
					_, _ = nc.Write([]byte{0x20, 2, 0, 1}) // CONNACK of MQTT 3.1.1: unacceptable protocol version
					return
				}
				_, _ = tc.connack.WriteTo(nc)
				if tc.suback != nil {
					p, err := packets.ReadPacket(nc)
					for err == nil && p.Type != packets.SUBSCRIBE { // a ping may come first
						p, err = packets.ReadPacket(nc)
					}
					if err != nil {
						return
					}
					tc.suback.PacketID = p.PacketID()
					_, _ = tc.suback.WriteTo(nc)
				}
				if tc.disconnect != nil {
					_, _ = tc.disconnect.WriteTo(nc)
				}
			})
			logs := build(t, fmt.Sprintf("urls: [ tcp://%s ]\nbroker_id: b\nprotocol: 5\nclient_id: c\nclean_session: false", addr), new(received).add)
			logs.waitFor(t, strings.ReplaceAll(tc.want, `\"`, `"`))
		})
	}
}

// TestOptions: what the fields say is what the broker is asked for.
func TestOptions(t *testing.T) {
	connects, subscribes := make(chan *packets.Connect, 100), make(chan *packets.Subscribe, 100)
	addr, _ := hanging(t, func(nc net.Conn) {
		for {
			p, err := packets.ReadPacket(nc)
			if err != nil {
				return
			}
			switch p := p.Content.(type) {
			case *packets.Connect:
				connects <- p
				_, _ = (&packets.Connack{Properties: &packets.Properties{}}).WriteTo(nc)
			case *packets.Subscribe:
				subscribes <- p
				_, _ = (&packets.Suback{PacketID: p.PacketID, Reasons: []byte{1}, Properties: &packets.Properties{}}).WriteTo(nc)
			}
		}
	})
	for name, tc := range map[string]struct {
		fields string
		check  func(c *packets.Connect, s packets.SubOptions) bool
	}{
		"defaults": {"", func(c *packets.Connect, s packets.SubOptions) bool {
			return c.CleanStart && c.Properties.SessionExpiryInterval == nil &&
				*c.Properties.ReceiveMaximum == 10000 && c.Properties.TopicAliasMaximum == nil &&
				!c.UsernameFlag && !c.PasswordFlag && s.RetainHandling == 0 && !s.NoLocal
		}},
		"a session for ever": {"client_id: c\nclean_session: false\nmax_unacked: 100000", func(c *packets.Connect, _ packets.SubOptions) bool {
			return !c.CleanStart && *c.Properties.SessionExpiryInterval == 0xffffffff && *c.Properties.ReceiveMaximum == 65535
		}},
		"a session for a while": {"client_id: c\nclean_session: false\nsession_expiry: 1500ms", func(c *packets.Connect, _ packets.SubOptions) bool {
			return *c.Properties.SessionExpiryInterval == 2
		}},
		"options": {"retain_handling: do_not_send\nno_local: true\nuser: alice\npassword: secret", func(c *packets.Connect, s packets.SubOptions) bool {
			return s.RetainHandling == 2 && s.NoLocal && c.Username == "alice" && string(c.Password) == "secret"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			runAt(t, "tcp://"+addr, "broker_id: b\nprotocol: 5\n"+tc.fields, new(received).add)
			if c, s := <-connects, <-subscribes; !tc.check(c, s.Subscriptions[0]) {
				t.Errorf("%v, %+v, %+v", c, c.Properties, s.Subscriptions[0])
			}
		})
	}
}

func TestProtocolLint(t *testing.T) {
	for fields, want := range map[string]string{
		"protocol: 4":                                                         "protocol must be 3.1.1 or 5",
		"protocol: 5.0":                                                       "protocol must be 3.1.1 or 5",
		"session_expiry: 1h":                                                  "need protocol: 5",
		"protocol: '3.1.1', no_local: true":                                   "need protocol: 5",
		"protocol: 5, session_expiry: 1h":                                     "needs clean_session: false",
		"protocol: 5, no_local: true, share_group: g":                         "no_local cannot be set",
		"protocol: 5, no_local: true, topics: [ $share/g/a ]":                 "no_local cannot be set",
		"protocol: 5, retain_handling: never":                                 "never",
		"protocol: 5, session_expiry: 0s, clean_session: false, client_id: c": "longer than 0s",
		"protocol: 5":                                                         "", "protocol: '5'": "", "protocol: 3.1.1": "",
	} {
		for _, lint := range []bool{true, false} {
			b := service.NewStreamBuilder()
			if !lint {
				b.DisableLinting()
			}
			err := b.AddInputYAML("iot_mqtt: { urls: [ tcp://127.0.0.1:1 ], broker_id: b, " + fields + " }")
			if lint && want != "" && err == nil {
				t.Errorf("%s: lint passes it", fields)
			}
			if err == nil {
				_ = b.AddOutputYAML("drop: {}")
				var s *service.Stream
				if s, err = b.Build(); err == nil && want != "" {
					err = s.Run(t.Context())
				}
			}
			if got := fmt.Sprint(err); want == "" && err != nil || want != "" && !strings.Contains(got, want) {
				t.Errorf("%s, lint %v: %v, want %q", fields, lint, err, want)
			}
		}
	}
}
