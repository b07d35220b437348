package tests

import (
	"fmt"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/iotcast/iotcast/internal/mosquitto"
)

// broker is a mosquitto of the test's own.
type broker struct {
	*process
	t         *testing.T
	dir       string // its configuration and its database
	addr      string
	mosquitto *mosquitto.Broker
}

// startMosquitto starts a broker to which anyone may connect, unless the
// given lines of its configuration say otherwise.
func startMosquitto(t *testing.T, lines ...string) *broker {
	t.Helper()
	return startMosquittoIn(t, t.TempDir(), append([]string{"allow_anonymous true"}, lines...)...)
}

func startMosquittoIn(t *testing.T, dir string, lines ...string) *broker {
	t.Helper()
	m, err := mosquitto.New(dir, append([]string{
		"log_type error", "log_type warning", "log_type notice", // not each writing of the database
	}, lines...)...)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{t: t, dir: dir, addr: m.Addr, mosquitto: m}
	b.start()
	return b
}

// start starts the broker, for the first time or again.
func (b *broker) start() {
	b.t.Helper()
	b.process = start(b.t, "mosquitto", b.mosquitto.Command())
	b.waitListening(b.addr)
}

func (b *broker) url() string { return "tcp://" + b.addr }

// message is what a publisher sends.
type message struct {
	topic   string
	payload []byte
}

// publisher returns a connected MQTT client.
func (b *broker) publisher() mqtt.Client {
	b.t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(b.url()).
		SetClientID(fmt.Sprintf("publisher-%d", time.Now().UnixNano())).SetAutoReconnect(false))
	waitToken(b.t, "connecting the publisher", c.Connect())
	b.t.Cleanup(func() { c.Disconnect(0) })
	return c
}

// publish sends messages, in order.
func (b *broker) publish(qos byte, messages ...message) {
	b.t.Helper()
	c := b.publisher()
	tokens := make([]mqtt.Token, len(messages))
	for i, m := range messages {
		tokens[i] = c.Publish(m.topic, qos, false, m.payload)
	}
	for _, token := range tokens {
		waitToken(b.t, "publishing", token)
	}
}

func waitToken(t *testing.T, what string, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) {
		t.Fatalf("%s: no answer within %v", what, patience)
	}
	if err := token.Error(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
