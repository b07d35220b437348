package tests

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// What the embedded broker limits, refuses, drops and hands out is in /metrics.
func TestBrokerLimits(t *testing.T) {
	t.Parallel()
	const guesser, others = "127.0.0.2", "127.0.0.3"
	addr := freeAddress(t)
	cast := newIotcast(t)
	cast.launch("streams", "-o", writeFile(t, fmt.Sprintf(`
http: { address: %q }
logger: { level: INFO, format: logfmt }
metrics: { prometheus: {} }
mqtt_broker:
  address: %q
  users: [ { user: u, password: right } ]
  limits:
    max_connections: 3
    max_connections_per_ip: 2
    max_sessions: 2
    max_retained_bytes: 100
    max_session_bytes: 100
    message_rate: 4
    login_failures: 2
    login_failures_per_ip: 3
`, cast.http, addr)))
	cast.waitListening(addr)
	from := func(ip string) mqtt.OpenConnectionFunc { // every address of 127.0.0.0/8 is this machine's
		return func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).DialContext(t.Context(), "tcp", addr)
		}
	}
	dial := func(id, user, password, ip string) (mqtt.Client, error) {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetUsername(user).SetPassword(password).
			SetProtocolVersion(4).SetAutoReconnect(false).SetCleanSession(false).SetConnectTimeout(patience).
			SetCustomOpenConnectionFn(from(ip)))
		token := c.Connect()
		if !token.WaitTimeout(patience) {
			t.Fatal("no answer to CONNECT")
		}
		return c, token.Error()
	}
	refused := func(id, user, password, ip string) {
		t.Helper()
		if _, err := dial(id, user, password, ip); err == nil {
			t.Errorf("%s got in as %s", id, user)
		}
	}
	must := func(token mqtt.Token) {
		t.Helper()
		if !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatalf("%T: %v", token, token.Error())
		}
	}
	metrics := func(want map[string]float64) {
		t.Helper()
		for series, n := range want {
			name, labels, _ := strings.Cut(series, " ")
			if labels != "" {
				labels = fmt.Sprintf("reason=%q", labels)
			}
			eventually(t, fmt.Sprintf("%s is %v", series, n), func() bool { return cast.metric(name, labels) == n })
		}
	}
	metrics(map[string]float64{"mqtt_broker_connections_refused": 0, "mqtt_broker_sessions": 0})

	for range 2 {
		refused("guesser", "u", "wrong", guesser)
	}
	refused("guesser", "u", "right", guesser)
	refused("guesser", "nobody", "wrong", guesser)
	refused("guesser", "somebody", "wrong", guesser)
	metrics(map[string]float64{
		"mqtt_broker_connections_refused password": 3, "mqtt_broker_connections_refused login_failures": 1,
		"mqtt_broker_connections_refused login_failures_per_ip": 1,
	})

	one, err := dial("one", "u", "right", others)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Disconnect(0)
	must(one.Subscribe("t", 1, func(mqtt.Client, mqtt.Message) {})) // acknowledges
	two, err := dial("two", "u", "right", others)
	if err != nil {
		t.Fatal(err)
	}
	must(two.Subscribe("t", 1, nil))
	refused("three", "u", "right", others)
	two.Disconnect(250)
	metrics(map[string]float64{"mqtt_broker_connections": 1, "mqtt_broker_sessions": 2})
	refused("three", "u", "right", others)
	metrics(map[string]float64{"mqtt_broker_connections_refused max_connections_per_ip": 1, "mqtt_broker_connections_refused max_sessions": 1})

	must(one.Publish("kept", 1, true, "1"))
	must(one.Publish("kept", 1, true, strings.Repeat("x", 100)))
	for range 6 {
		must(one.Publish("t", 1, false, "0123456789"))
	}
	must(one.Subscribe("a/#b", 1, nil))
	metrics(map[string]float64{
		"mqtt_broker_messages_received": 8, "mqtt_broker_messages_sent": 6, "mqtt_broker_messages_refused max_retained_bytes": 1,
		"mqtt_broker_messages_refused not_authorized": 0, "mqtt_broker_subscriptions_refused filter_invalid": 1,
		"mqtt_broker_retained_bytes": 9, "mqtt_broker_session_bytes": 90,
	})
	if n := cast.metric("mqtt_broker_messages_delayed", ""); n == 0 {
		t.Error("no message was delayed")
	}
	if n := cast.metric("mqtt_broker_retained_messages", ""); n == 0 {
		t.Error("nothing is retained")
	}
	for range 2 {
		must(one.Publish("t", 1, false, "0123456789"))
	}
	metrics(map[string]float64{"mqtt_broker_messages_dropped max_session_bytes": 2, "mqtt_broker_messages_dropped": 2})
}
