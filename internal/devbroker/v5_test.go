package devbroker

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2/packets"
)

// wire is a client that sends and reads packets one by one.
type wire struct {
	t       *testing.T
	nc      net.Conn
	version byte
}

// connectWire connects with a persistent session, and takes so many messages at once; 0 is for as many as there are.
func connectWire(t *testing.T, b *Broker, version byte, clientID string, receiveMaximum uint16) (c *wire, present bool) {
	t.Helper()
	c = &wire{t: t, nc: dialRaw(t, b), version: version}
	pk := mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Connect}, Connect: mochi.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: clientID, Keepalive: 60,
	}}
	if version == 5 {
		pk.Properties = mochi.Properties{SessionExpiryInterval: 3600, SessionExpiryIntervalFlag: true, ReceiveMaximum: receiveMaximum}
	}
	c.send(pk)
	return c, c.read(mochi.Connack).SessionPresent
}

// connectV5 logs in as somebody of the lab.
func connectV5(t *testing.T, b *Broker, who, clientID string) *wire {
	t.Helper()
	c := &wire{t: t, nc: dialRaw(t, b), version: 5}
	c.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Connect}, Connect: mochi.ConnectParams{
		ProtocolName: []byte("MQTT"), Clean: true, ClientIdentifier: clientID, Keepalive: 60,
		UsernameFlag: true, Username: []byte(who), PasswordFlag: true, Password: []byte(password),
	}})
	if ack := c.read(mochi.Connack); ack.ReasonCode != 0 {
		t.Fatalf("CONNACK %#x", ack.ReasonCode)
	}
	return c
}

func (c *wire) send(pk mochi.Packet) {
	c.t.Helper()
	pk.ProtocolVersion = c.version
	encode := map[byte]func(*bytes.Buffer) error{
		mochi.Connect: pk.ConnectEncode, mochi.Publish: pk.PublishEncode, mochi.Subscribe: pk.SubscribeEncode,
		mochi.Unsubscribe: pk.UnsubscribeEncode, mochi.Puback: pk.PubackEncode, mochi.Pubrec: pk.PubrecEncode,
		mochi.Pubrel: pk.PubrelEncode, mochi.Pubcomp: pk.PubcompEncode, mochi.Pingreq: pk.PingreqEncode,
	}[pk.FixedHeader.Type]
	var buf bytes.Buffer
	if err := encode(&buf); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.nc.Write(buf.Bytes()); err != nil {
		c.t.Fatal(err)
	}
}

// read reads a packet, which must be of the type.
func (c *wire) read(want byte) mochi.Packet {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	var first [1]byte
	if _, err := io.ReadFull(c.nc, first[:]); err != nil {
		c.t.Fatal(err)
	}
	pk := mochi.Packet{ProtocolVersion: c.version}
	if err := pk.FixedHeader.Decode(first[0]); err != nil {
		c.t.Fatal(err)
	}
	length, _, err := mochi.DecodeLength(byteReader{c.nc})
	if err != nil {
		c.t.Fatal(err)
	}
	pk.FixedHeader.Remaining = length
	body := make([]byte, length)
	if _, err := io.ReadFull(c.nc, body); err != nil {
		c.t.Fatal(err)
	}
	if pk.FixedHeader.Type != want {
		c.t.Fatalf("packet of type %d, want %d: %x", pk.FixedHeader.Type, want, body)
	}
	decode := map[byte]func([]byte) error{
		mochi.Connack: pk.ConnackDecode, mochi.Puback: pk.PubackDecode, mochi.Pubrec: pk.PubrecDecode,
		mochi.Suback: pk.SubackDecode, mochi.Publish: pk.PublishDecode, mochi.Unsuback: pk.UnsubackDecode,
		mochi.Pubrel: pk.PubrelDecode, mochi.Pubcomp: pk.PubcompDecode, mochi.Pingresp: func([]byte) error { return nil },
		mochi.Disconnect: pk.DisconnectDecode,
	}[want]
	if err := decode(body); err != nil {
		c.t.Fatal(err)
	}
	return pk
}

type byteReader struct{ io.Reader }

func (r byteReader) ReadByte() (byte, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return b[0], err
}

func publishV5(topic string, qos byte, id, alias uint16) mochi.Packet {
	return mochi.Packet{
		FixedHeader: mochi.FixedHeader{Type: mochi.Publish, Qos: qos}, PacketID: id, TopicName: topic, Payload: []byte("x"),
		Properties: mochi.Properties{TopicAlias: alias, TopicAliasFlag: alias > 0},
	}
}

// An MQTT 5 client is told what it may not do, and stays; a topic alias hides nothing.
func TestRefusalsV5(t *testing.T) {
	b := startLab(t)
	_, in := subscriber(t, b, "r", "in", "$devices/+/#", "$registries/+/#", "#")
	c := connectV5(t, b, "d1", "c")

	c.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Subscribe, Qos: 1}, PacketID: 1, Filters: mochi.Subscriptions{
		{Filter: "$me/device/commands", Qos: 1}, {Filter: "$devices/d2/commands", Qos: 1}, {Filter: "$share/g/$me/device/config"}, {Filter: "$share/g/$devices/d2/config"},
	}})
	if ack := c.read(mochi.Suback); !bytes.Equal(ack.ReasonCodes, []byte{1, 0x87, 0, 0x87}) {
		t.Errorf("SUBACK %x", ack.ReasonCodes)
	}

	const refused = 0x87
	c.send(publishV5("$devices/d2/events", 1, 2, 0))
	if ack := c.read(mochi.Puback); ack.ReasonCode != refused {
		t.Errorf("PUBACK %#x", ack.ReasonCode)
	}
	c.send(publishV5("$devices/d2/events", 2, 3, 0))
	if ack := c.read(mochi.Pubrec); ack.ReasonCode != refused {
		t.Errorf("PUBREC %#x", ack.ReasonCode)
	}
	// The alias of what was refused stands for nothing, and that of what was not for what it did.
	c.send(publishV5("$devices/d2/events", 1, 4, 7))
	if ack := c.read(mochi.Puback); ack.ReasonCode != refused {
		t.Errorf("PUBACK %#x", ack.ReasonCode)
	}
	c.send(publishV5("", 1, 5, 7))
	if ack := c.read(mochi.Puback); ack.ReasonCode != refused {
		t.Errorf("by an alias that stands for nothing: PUBACK %#x", ack.ReasonCode)
	}
	c.send(publishV5("", 2, 6, 7))
	if ack := c.read(mochi.Pubrec); ack.ReasonCode != refused {
		t.Errorf("by an alias that stands for nothing: PUBREC %#x", ack.ReasonCode)
	}
	c.send(publishV5("", 0, 0, 7))
	c.send(publishV5("$me/device/events", 1, 7, 8))
	if ack := c.read(mochi.Puback); ack.ReasonCode >= 0x80 {
		t.Errorf("PUBACK %#x", ack.ReasonCode)
	}
	c.send(publishV5("", 1, 8, 8))
	if ack := c.read(mochi.Puback); ack.ReasonCode >= 0x80 {
		t.Errorf("by alias: PUBACK %#x", ack.ReasonCode)
	}
	publish(t, connect(t, as(b, "d1", "end")), "$registries/r/events", "last")
	want := "$devices/d1/events x, kitchen/events x, $devices/d1/events x, kitchen/events x"
	if got := in.take(t, "last"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A shared subscription to a topic of one's own works as any other.
func TestSharedSubscription(t *testing.T) {
	b := startLab(t)
	c := connectV5(t, b, "r", "c")
	c.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Subscribe, Qos: 1}, PacketID: 1, Filters: mochi.Subscriptions{
		{Filter: "$share/g/$devices/+/events", Qos: 0},
	}})
	if ack := c.read(mochi.Suback); !bytes.Equal(ack.ReasonCodes, []byte{0}) {
		t.Fatalf("SUBACK %x", ack.ReasonCodes)
	}
	publish(t, connect(t, as(b, "d1", "pub")), "$devices/d1/events", "x")
	if pk := c.read(mochi.Publish); pk.TopicName != "$devices/d1/events" || string(pk.Payload) != "x" {
		t.Errorf("got %s %s", pk.TopicName, pk.Payload)
	}
}
