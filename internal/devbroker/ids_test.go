package devbroker

import (
	"fmt"
	"path/filepath"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2/packets"
)

func (c *wire) subscribe(id uint16, filter string, qos byte) {
	c.t.Helper()
	c.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Subscribe, Qos: 1}, PacketID: id, Filters: mochi.Subscriptions{{Filter: filter, Qos: qos}}})
	if ack := c.read(mochi.Suback); ack.PacketID != id || ack.ReasonCodes[0] != qos {
		c.t.Errorf("SUBACK %d %x, want %d", ack.PacketID, ack.ReasonCodes, id)
	}
}

// publish publishes a message, and goes through with its acknowledgement.
func (c *wire) publish(topic string, qos byte, id uint16) {
	c.t.Helper()
	c.send(publishV5(topic, qos, id, 0))
	if qos == 1 {
		c.expect(mochi.Puback, id, 0)
		return
	}
	c.expect(mochi.Pubrec, id, 0)
	c.release(id, 0)
}

func (c *wire) release(id uint16, reason byte) {
	c.t.Helper()
	c.acknowledge(mochi.Pubrel, id)
	c.expect(mochi.Pubcomp, id, reason)
}

func (c *wire) acknowledge(kind byte, id uint16) {
	c.t.Helper()
	pk := mochi.Packet{FixedHeader: mochi.FixedHeader{Type: kind}, PacketID: id}
	if kind == mochi.Pubrel {
		pk.FixedHeader.Qos = 1
	}
	c.send(pk)
}

// accept acknowledges a delivery.
func (c *wire) accept(qos byte, id uint16) {
	c.t.Helper()
	if qos == 1 {
		c.acknowledge(mochi.Puback, id)
		return
	}
	c.acknowledge(mochi.Pubrec, id)
	c.expect(mochi.Pubrel, id, 0)
	c.acknowledge(mochi.Pubcomp, id)
}

func (c *wire) expect(kind byte, id uint16, reason byte) {
	c.t.Helper()
	if pk := c.read(kind); pk.PacketID != id || pk.ReasonCode != reason {
		c.t.Errorf("packet of type %d: ID %d, reason %#x, want %d, %#x", kind, pk.PacketID, pk.ReasonCode, id, reason)
	}
}

// nothing is to be read but what answers a PINGREQ.
func (c *wire) nothing() {
	c.t.Helper()
	c.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Pingreq}})
	c.read(mochi.Pingresp)
}

func eachWay(t *testing.T, test func(t *testing.T, version, qos byte)) {
	for _, version := range []byte{4, 5} {
		for _, qos := range []byte{1, 2} {
			t.Run(fmt.Sprintf("version %d, QoS %d", version, qos), func(t *testing.T) { test(t, version, qos) })
		}
	}
}

// What a client numbers has nothing to do with what the broker numbers [MQTT-2.3.1]: while a delivery waits for its
// acknowledgement, the client may do anything under the same packet ID.
func TestPacketIDsOfBothSides(t *testing.T) {
	eachWay(t, func(t *testing.T, version, qos byte) {
		b := startBroker(t, Config{}, nil)
		c, _ := connectWire(t, b, version, "dev", 1)
		c.subscribe(1, "cmd", qos)
		pub, _ := connectWire(t, b, version, "pub", 0)
		pub.publish("cmd", qos, 1)
		delivered := c.read(mochi.Publish)
		id := delivered.PacketID

		c.publish("tel", qos, id)
		c.subscribe(id, "other", qos)
		c.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Unsubscribe, Qos: 1}, PacketID: id, Filters: mochi.Subscriptions{{Filter: "other"}}})
		c.expect(mochi.Unsuback, id, 0)
		c.acknowledge(mochi.Pubrel, id) // of nothing
		c.expect(mochi.Pubcomp, id, map[byte]byte{5: 0x92}[version])

		_ = c.nc.Close()
		c, present := connectWire(t, b, version, "dev", 1)
		if !present {
			t.Error("the session is gone")
		}
		again := c.read(mochi.Publish)
		if again.PacketID != id || !again.FixedHeader.Dup || again.TopicName != "cmd" {
			t.Errorf("resent: %+v", again)
		}
		c.publish("tel", qos, id)
		c.accept(qos, id)
		for i := range uint16(3) { // its acknowledgement has made room for others
			pub.publish("cmd", qos, i+1)
			c.accept(qos, c.read(mochi.Publish).PacketID)
		}
		eventually(t, "all is acknowledged", func() bool { cl, _ := b.server.Clients.Get("dev"); return cl.State.Inflight.Len() == 0 })
		nothingDropped(t, b)
	})
}

// No more messages are under way than the Receive Maximum of the client (MQTT 5.0 section 4.9), all come, in order, and one
// that has been sent is kept until it is acknowledged.
func TestReceiveMaximum(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		const maximum, count = 3, 20
		b := startBroker(t, Config{}, nil)
		c, _ := connectWire(t, b, 5, "dev", maximum)
		c.subscribe(1, "cmd", qos)
		pub, _ := connectWire(t, b, 5, "pub", 0)
		for i := range uint16(count) {
			pk := publishV5("cmd", qos, i+1, 0)
			pk.Payload = fmt.Append(nil, i)
			pub.send(pk)
			if qos == 1 {
				pub.expect(mochi.Puback, i+1, 0)
				continue
			}
			pub.expect(mochi.Pubrec, i+1, 0)
			pub.release(i+1, 0)
		}
		var unacknowledged []uint16
		for i := range count {
			if len(unacknowledged) == maximum {
				c.nothing()
				if i == 9 && qos == 2 {
					c.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Pubrec}, PacketID: unacknowledged[0], ReasonCode: mochi.ErrQuotaExceeded.Code})
				} else {
					c.accept(qos, unacknowledged[0])
				}
				unacknowledged = unacknowledged[1:]
			}
			pk := c.read(mochi.Publish)
			if string(pk.Payload) != fmt.Sprint(i) || pk.FixedHeader.Dup {
				t.Fatalf("message %d: %+v", i, pk)
			}
			unacknowledged = append(unacknowledged, pk.PacketID)
		}
		_ = c.nc.Close()
		c, _ = connectWire(t, b, 5, "dev", maximum)
		for _, id := range unacknowledged {
			if pk := c.read(mochi.Publish); pk.PacketID != id || !pk.FixedHeader.Dup {
				t.Errorf("resent: %+v, want ID %d", pk, id)
			}
		}
		nothingDropped(t, b)
	}
}

// DUP is on what has been sent before, and on nothing else [MQTT-3.3.1-1], also after a restart.
func TestDup(t *testing.T) {
	eachWay(t, func(t *testing.T, version, qos byte) {
		cfg := Config{File: filepath.Join(t.TempDir(), "broker.db")}
		b := startBroker(t, cfg, nil)
		c, _ := connectWire(t, b, version, "dev", 0)
		c.subscribe(1, "cmd", qos)
		left := func() {
			t.Helper()
			cl, _ := b.server.Clients.Get("dev")
			_ = c.nc.Close()
			<-connOf(cl).ended
		}
		returns := func(want ...bool) {
			t.Helper()
			c, _ = connectWire(t, b, version, "dev", 0)
			for i, dup := range want {
				if pk := c.read(mochi.Publish); pk.FixedHeader.Dup != dup {
					t.Errorf("message %d: DUP %v", i, pk.FixedHeader.Dup)
				}
			}
			c.nothing()
			left()
		}
		publish := func() {
			t.Helper()
			pub, _ := connectWire(t, b, version, "pub", 0)
			pub.publish("cmd", qos, 1)
		}
		restart := func() {
			t.Helper()
			closeBroker(t, b)
			b = startBroker(t, cfg, nil)
		}
		left()
		publish()
		returns(false)
		returns(true)
		publish()
		restart()
		restart() // what was stored after the first comes after what was stored before
		publish()
		restart()
		returns(true, false, false)
		restart()
		returns(true, true, true)
	})
}

// A QoS 2 message that comes twice is handed out once [MQTT-4.3.3-2], until it is released; then its packet ID is free.
func TestReceivedTwice(t *testing.T) {
	for _, version := range []byte{4, 5} {
		cfg := Config{File: filepath.Join(t.TempDir(), "broker.db")}
		b := startBroker(t, cfg, nil)
		sub, _ := connectWire(t, b, 4, "sub", 0)
		sub.subscribe(1, "a/#", 0)
		pub, _ := connectWire(t, b, version, "pub", 0)
		send := func(topic string) {
			t.Helper()
			pk := publishV5(topic, 2, 5, 0)
			pk.FixedHeader.Dup = true
			pub.send(pk)
			pub.expect(mochi.Pubrec, 5, 0)
		}
		arrives := func(topic string) {
			t.Helper()
			if pk := sub.read(mochi.Publish); pk.TopicName != topic {
				t.Errorf("got %q, want %q", pk.TopicName, topic)
			}
		}
		send("a/1")
		arrives("a/1")
		send("a/1")
		_ = pub.nc.Close()
		pub, _ = connectWire(t, b, version, "pub", 0)
		send("a/1")
		closeBroker(t, b)

		b = startBroker(t, cfg, nil)
		sub, _ = connectWire(t, b, 4, "sub", 0)
		pub, _ = connectWire(t, b, version, "pub", 0)
		send("a/1")
		pub.release(5, 0)
		pub.release(5, map[byte]byte{5: 0x92}[version])
		send("a/2")
		arrives("a/2")
		pub.release(5, 0)
	}
}
