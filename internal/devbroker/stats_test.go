package devbroker

import (
	"strings"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2/packets"
)

// What a client is refused is counted, by reason.
func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	b := startLab(t)
	k := caller{version: 5, id: "c", user: "d1", password: password}
	c := k.expect(t, b, 0)
	c.send(publishV5("$devices/d2/events", 1, 2, 0))
	c.read(mochi.Puback)
	c.send(publishV5("$devices/d2/events", 0, 0, 0))
	c.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Subscribe, Qos: 1}, PacketID: 1, Filters: mochi.Subscriptions{
		{Filter: "$devices/d1/commands"}, {Filter: "$devices/d2/commands"}, {Filter: "$devices/d2/config"}, {Filter: "$share//x"},
	}})
	c.read(mochi.Suback)
	c.send(publishV5(strings.Repeat("/", 300), 1, 3, 0))
	c.read(mochi.Disconnect)
	k.will = "$devices/d2/events"
	k.expect(t, b, notLetIn[5])
	s := b.Stats()
	if m := s.RefusedMessages; m[byAuthorization] != 2 || m[byTopic] != 1 || m[byRetainedBytes] != 0 {
		t.Errorf("messages: %v", m)
	}
	if f := s.RefusedSubscriptions; f[byAuthorization] != 2 || f[byFilter] != 1 {
		t.Errorf("subscriptions: %v", f)
	}
	if n := s.RefusedConnections; n[byWill] != 1 || n[byPassword] != 0 {
		t.Errorf("connections: %v", n)
	}
	if s.Received != 3 {
		t.Errorf("%d messages were received", s.Received)
	}
}

// What is dropped is counted, by reason.
func TestDropsAreCounted(t *testing.T) {
	t.Parallel()
	b, err := start(Config{Address: "127.0.0.1:0"}, nil, 3)
	must(t, err)
	t.Cleanup(func() { closeBroker(t, b) })
	away := connect(t, options(b, "away").SetCleanSession(false))
	subscribe(t, away, "away", nil)
	away.Disconnect(250)

	small := &wire{t: t, nc: dialRaw(t, b), version: 5}
	small.send(mochi.Packet{
		FixedHeader: mochi.FixedHeader{Type: mochi.Connect},
		Connect:     mochi.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: "small", Clean: true},
		Properties:  mochi.Properties{MaximumPacketSize: 100},
	})
	small.read(mochi.Connack)
	small.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Subscribe, Qos: 1}, PacketID: 1, Filters: mochi.Subscriptions{{Filter: "small", Qos: 1}}})
	small.read(mochi.Suback)

	blocked := dialRaw(t, b)
	connectRaw(t, blocked, "blocked", true)
	subscribeRaw(t, blocked, "blocked") // and reads nothing after that

	pub := connect(t, options(b, "pub"))
	publishNumbers(t, pub, "away", 0, 5, 0)
	publishNumbers(t, pub, "small", 0, 2, 200)
	eventually(t, "too many messages wait for a connection", func() bool {
		wait(t, pub.Publish("blocked", 0, false, make([]byte, 100<<10)))
		return b.Stats().Dropped[byQueueFull] > 0
	})
	d := b.Stats().Dropped
	if d[bySessionFull] != 2 || d[byPacketSize] != 2 || d[bySessionBytes] != 0 {
		t.Errorf("got %v", d)
	}
	if s := b.Stats(); s.Connections != 3 || s.Sessions != 4 {
		t.Errorf("%d connections, %d sessions", s.Connections, s.Sessions)
	}
}
