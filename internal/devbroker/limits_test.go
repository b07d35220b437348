package devbroker

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	mqtt "github.com/mochi-mqtt/server/v2"
	mochi "github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

// caller is a client of which a test wants to see the CONNACK.
type caller struct {
	version        byte
	id             string
	user, password string // empty: none
	persistent     bool
	from           string // address
	keepalive      uint16
	will           string // topic
}

// call connects, and returns the code of the CONNACK.
func (k caller) call(t *testing.T, b *Broker) (c *wire, code byte) {
	t.Helper()
	d := net.Dialer{}
	if k.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(k.from)}
	}
	nc, err := d.Dial("tcp", b.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	c = &wire{t: t, nc: nc, version: k.version}
	pk := mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Connect}, Connect: mochi.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: k.id, Keepalive: k.keepalive, Clean: !k.persistent,
		UsernameFlag: k.user != "", Username: []byte(k.user), PasswordFlag: k.password != "", Password: []byte(k.password),
		WillFlag: k.will != "", WillTopic: k.will, WillPayload: []byte("will"),
	}}
	if k.version == 5 && k.persistent {
		pk.Properties = mochi.Properties{SessionExpiryInterval: 3600, SessionExpiryIntervalFlag: true}
	}
	c.send(pk)
	return c, c.read(mochi.Connack).ReasonCode
}

// expect calls, and checks the code.
func (k caller) expect(t *testing.T, b *Broker, code byte) *wire {
	t.Helper()
	c, got := k.call(t, b)
	if got != code {
		t.Fatalf("%+v: CONNACK %#x, want %#x", k, got, code)
	}
	return c
}

// The codes of a CONNACK by version: of a limit, and of one on tries.
var (
	beyond    = map[byte]byte{4: 3, 5: 0x97}
	tooOften  = map[byte]byte{4: 3, 5: 0x9f}
	notLetIn  = map[byte]byte{4: 5, 5: 0x86}
	bothSpeak = []byte{4, 5}
)

func forBoth(t *testing.T, test func(t *testing.T, version byte)) {
	t.Helper()
	for _, version := range bothSpeak {
		t.Run(fmt.Sprintf("MQTT %d", version), func(t *testing.T) { t.Parallel(); test(t, version) })
	}
}

// comesIn waits until a client gets in.
func (k caller) comesIn(t *testing.T, b *Broker) {
	t.Helper()
	eventually(t, k.id+" gets in", func() bool {
		_, code := k.call(t, b)
		return code == 0
	})
}

// Beyond the limit a client is told so, and one that is connected can come back in place of its old connection.
func TestConnectionsLimit(t *testing.T) {
	forBoth(t, func(t *testing.T, version byte) {
		b := startBroker(t, Config{Limits: Limits{Connections: 2}}, nil)
		one := caller{version: version, id: "one"}
		first := one.expect(t, b, 0)
		caller{version: version, id: "two"}.expect(t, b, 0)
		three := caller{version: version, id: "three", persistent: true}
		three.expect(t, b, beyond[version])
		if n := b.Stats().RefusedConnections[byConnections]; n != 1 {
			t.Errorf("%d refusals were counted", n)
		}
		again := one.expect(t, b, 0)
		_ = first.nc.Close()
		three.expect(t, b, beyond[version]) // it still is one place
		if s := b.Stats(); s.Sessions != 2 {
			t.Errorf("%d sessions: one that was refused has none", s.Sessions)
		}
		_ = again.nc.Close()
		three.comesIn(t, b)
	})
}

// Clients that come at the same time get no more sessions than there may be, and one that fails to arrive leaves nothing behind.
func TestSessionsOfThoseWhoCome(t *testing.T) {
	t.Parallel()
	a := newAdmission(Limits{Sessions: 1}, mqtt.NewClients())
	leave, err := a.enter("one", addr("192.0.2.1:1"), false)
	must(t, err)
	if _, err := a.enter("two", addr("192.0.2.1:2"), false); err == nil {
		t.Error("two came in beside one")
	}
	leave()
	leave, err = a.enter("two", addr("192.0.2.1:2"), false)
	must(t, err)
	leave()
	if len(a.places)+len(a.perIP)+len(a.coming) > 0 {
		t.Errorf("left behind: %+v", a)
	}
}

// The process's own streams come in always.
func TestLimitsAndOwnStreams(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Config{Directory: newDirectory(t, labConfig()), Limits: Limits{Connections: 1, Sessions: 1}}, nil)
	device := caller{version: 4, id: "c", user: "d1", password: password}
	device.expect(t, b, 0)
	device.id = "c2"
	device.expect(t, b, beyond[4])
	caller{version: 4, id: "trigger", user: "r", password: b.hook.directory.ProcessPassword()}.expect(t, b, 0)
}

// A session above the limit is refused, also one from before a restart counts, and who has one always comes back.
func TestSessionsLimit(t *testing.T) {
	forBoth(t, func(t *testing.T, version byte) {
		cfg := Config{Limits: Limits{Sessions: 2}, File: filepath.Join(t.TempDir(), "broker.db")}
		b := startBroker(t, cfg, nil)
		away := caller{version: version, id: "away", persistent: true}
		_ = away.expect(t, b, 0).nc.Close()
		there := caller{version: version, id: "there"}.expect(t, b, 0)
		third := caller{version: version, id: "third"}
		third.expect(t, b, beyond[version])
		if s := b.Stats(); s.RefusedConnections[bySessions] != 1 || s.Sessions != 2 {
			t.Errorf("got %+v", s)
		}
		_ = away.expect(t, b, 0).nc.Close()
		_ = there.nc.Close() // and its session with it
		third.comesIn(t, b)
		closeBroker(t, b)

		cfg.Limits.Sessions = 1
		b = startBroker(t, cfg, nil)
		third.expect(t, b, beyond[version])
		away.persistent = false
		_ = away.expect(t, b, 0).nc.Close() // which ends the session
		third.comesIn(t, b)
	})
}

// What a broker tells of bytes is what it keeps, whatever has become of messages.
func bytesKept(t *testing.T, b *Broker, retained, sessions int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d bytes are retained, and %d in sessions", retained, sessions), func() bool {
		s := b.Stats()
		return s.RetainedBytes == retained && s.SessionBytes == sessions
	})
}

func retainedV5(topic string, qos byte, id uint16, payload string) mochi.Packet {
	pk := publishV5(topic, qos, id, 0)
	pk.FixedHeader.Retain, pk.Payload = true, []byte(payload)
	return pk
}

// Without room for a retained message an MQTT 5 client is told so. What it replaces makes room, and so does what is removed.
func TestRetainedBytes(t *testing.T) {
	t.Parallel()
	topic := len("_/a/\x00")
	cfg := Config{Limits: Limits{RetainedBytes: int64(2*topic + 20)}, File: filepath.Join(t.TempDir(), "broker.db")}
	b := startBroker(t, cfg, nil)
	in := new(inbox)
	subscribe(t, connect(t, options(b, "sub").SetDefaultPublishHandler(in.handle)), "#", nil)
	c := caller{version: 5, id: "c"}.expect(t, b, 0)
	put := func(topic string, qos byte, payload string, code byte) {
		t.Helper()
		c.send(retainedV5(topic, qos, 7, payload))
		ack := c.read(map[byte]byte{1: mochi.Puback, 2: mochi.Pubrec}[qos])
		if ack.ReasonCode != code && (code != 0 || ack.ReasonCode != 0x10) { // 0x10: nobody subscribes
			t.Fatalf("%s %q: code %#x, want %#x", topic, payload, ack.ReasonCode, code)
		}
		if qos == 2 && code == 0 {
			c.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Pubrel, Qos: 1}, PacketID: 7})
			c.read(mochi.Pubcomp)
		}
	}
	put("a", 1, "0123456789", 0)
	put("b", 2, "0123456789", 0)
	bytesKept(t, b, cfg.Limits.RetainedBytes, 0)
	put("a", 1, "0123456789+", 0x97)
	put("a", 2, "0123456789+", 0x97)
	put("a", 2, "987", 0) // the same packet ID: the one that was refused is over
	put("c", 1, "012", 0x97)
	put("b", 1, "", 0)
	put("c", 1, "012", 0)
	old := connect(t, options(b, "old"))
	wait(t, old.Publish("d", 1, true, strings.Repeat("x", 20)))
	got := in.take(t, strings.Repeat("x", 20))
	if want := "a 0123456789, b 0123456789, a 987, b , c 012"; got != want {
		t.Errorf("handed out: %q, want %q", got, want)
	}
	if n := b.Stats().RefusedMessages[byRetainedBytes]; n != 4 {
		t.Errorf("%d refusals were counted", n)
	}
	bytesKept(t, b, int64(2*topic+len("987"+"012")), 0)
	closeBroker(t, b)

	b = startBroker(t, cfg, nil)
	bytesKept(t, b, int64(2*topic+len("987"+"012")), 0)
	in = new(inbox)
	subscribe(t, connect(t, options(b, "sub").SetDefaultPublishHandler(in.handle)), "#", nil)
	eventually(t, "what was kept comes, and nothing else", func() bool { return in.has("a 987 (kept)") && in.has("c 012 (kept)") })
	if in.has("d " + strings.Repeat("x", 20) + " (kept)") {
		t.Error("kept beyond the limit")
	}
}

// A permanent topic has the limit, with each of its names, also for what comes without MQTT.
func TestRetainedBytesOfPermanentTopics(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Config{Directory: newDirectory(t, labConfig()), Limits: Limits{RetainedBytes: 200}}, nil)
	must(t, b.Publish("d1", "$devices/d1/state", []byte("on")))
	err := b.Publish("d1", "$devices/d1/state", []byte(strings.Repeat("x", 200)))
	if !errors.Is(err, registry.ErrNoRoom) {
		t.Errorf("got %v", err)
	}
	_, in := subscriber(t, b, "r", "in", "$devices/d1/state")
	eventually(t, "the one before is kept", func() bool { return in.has("$devices/d1/state on (kept)") })
	must(t, b.Publish("d1", "$devices/d1/state", nil))
	bytesKept(t, b, 0, 0)
}

// Messages beyond the limit are dropped from their session alone, and what has left it makes room.
func TestSessionBytes(t *testing.T) {
	t.Parallel()
	const n, size = 10, 100
	message := int64(len("_/t/\x00") + size)
	cfg := Config{Limits: Limits{SessionBytes: n*message + message/2}, File: filepath.Join(t.TempDir(), "broker.db")}
	b := startBroker(t, cfg, nil)
	away := func() *paho.ClientOptions { return options(b, "away").SetCleanSession(false) }
	c := connect(t, away())
	subscribe(t, c, "t", nil)
	c.Disconnect(250)
	reader := newNumbers()
	subscribe(t, connect(t, options(b, "reader")), "t", reader.handle)
	pub := connect(t, options(b, "pub"))
	publishNumbers(t, pub, "t", 0, 10, size-1)
	publishNumbers(t, pub, "t", 10, 13, size-2)
	inOrder(t, reader.untilCount(t, 13), 13)
	if d := b.Stats().Dropped; d[bySessionBytes] != 3 || d[bySessionFull] != 0 {
		t.Errorf("dropped: %v", d)
	}
	bytesKept(t, b, 0, n*message)
	closeBroker(t, b)

	b = startBroker(t, cfg, nil)
	bytesKept(t, b, 0, n*message)
	silent := caller{version: 4, id: "away", persistent: true}.expect(t, b, 0)
	silent.read(mochi.Publish)
	bytesKept(t, b, 0, n*message) // the session has moved, and nothing is acknowledged
	late := newNumbers()
	c = connect(t, away().SetDefaultPublishHandler(late.handle))
	inOrder(t, late.untilCount(t, n), n)
	bytesKept(t, b, 0, 0) // all are acknowledged
	c.Disconnect(250)
	pub = connect(t, options(b, "pub"))
	publishNumbers(t, pub, "t", 0, 5, size-1)
	bytesKept(t, b, 0, 5*message)
	connect(t, options(b, "away")) // the session ends
	bytesKept(t, b, 0, 0)
}

// A session that expires takes its bytes with it.
func TestSessionBytesExpire(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Config{Limits: Limits{SessionBytes: 1000}}, nil)
	c := &wire{t: t, nc: dialRaw(t, b), version: 5}
	c.send(mochi.Packet{
		FixedHeader: mochi.FixedHeader{Type: mochi.Connect},
		Connect:     mochi.ConnectParams{ProtocolName: []byte("MQTT"), ClientIdentifier: "short"},
		Properties:  mochi.Properties{SessionExpiryInterval: 1, SessionExpiryIntervalFlag: true},
	})
	c.read(mochi.Connack)
	c.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Subscribe, Qos: 1}, PacketID: 1, Filters: mochi.Subscriptions{{Filter: "t", Qos: 1}}})
	c.read(mochi.Suback)
	wait(t, connect(t, options(b, "pub")).Publish("t", 1, false, "12345"))
	bytesKept(t, b, 0, int64(len("_/t/\x00")+5))
	_ = c.nc.Close()
	bytesKept(t, b, 0, 0)
}

// A client that sends too fast is read no faster: all comes, in order.
func TestMessageRate(t *testing.T) {
	t.Parallel()
	const rate = 50
	b := startBroker(t, Config{Limits: Limits{MessageRate: rate}}, nil)
	in := newNumbers()
	subscribe(t, connect(t, options(b, "sub")), "#", in.handle)
	fast := connect(t, options(b, "fast"))
	began := time.Now()
	publishNumbers(t, fast, "t", 0, 2*rate, 0)
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("%d messages took %v", 2*rate, took)
	}
	inOrder(t, in.untilCount(t, 2*rate), 2*rate)
	if s := b.Stats(); s.Delayed == 0 || s.Delayed > rate {
		t.Errorf("%d messages were delayed", s.Delayed)
	}
}

// However long a client has to wait, its next connection and the end of the broker do not.
func TestEndOfWaiting(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Config{Limits: Limits{MessageRate: 1}}, nil)
	for range 10_000 {
		b.hook.messages.wait("c")
	}
	k := caller{version: 4, id: "c"}
	for n := range int64(2) {
		k.expect(t, b, 0).send(publishV5("t", 0, 0, 0))
		eventually(t, "it waits", func() bool { return b.Stats().Delayed == n+1 })
	}
	closed := make(chan error)
	go func() { closed <- b.Close() }()
	select {
	case err := <-closed:
		must(t, err)
	case <-time.After(patience):
		t.Fatal("the broker waits for a client that waits")
	}
}

// The connections of a device share its rate, and a registry has none.
func TestMessageRateOfDevice(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Config{Directory: newDirectory(t, labConfig()), Limits: Limits{MessageRate: 5}}, nil)
	publishNumbers(t, connect(t, as(b, "r", "all")), "$devices/d1/commands", 0, 20, 0)
	if n := b.Stats().Delayed; n != 0 {
		t.Errorf("%d of the registry were delayed", n)
	}
	for _, id := range []string{"one", "two"} {
		publishNumbers(t, connect(t, as(b, "d1", id)), "$devices/d1/events", 0, 5, 0)
	}
	publishNumbers(t, connect(t, as(b, "d2", "one")), "$devices/d2/events", 0, 1, 0)
	if n := b.Stats().Delayed; n == 0 || n > 5 {
		t.Errorf("%d were delayed", n)
	}
}

// Who has to wait longer than its keepalive is not taken for dead, its will comes after what it has sent, and its next connection
// does not wait for the old one.
func TestKeepaliveAndWillAtTheRate(t *testing.T) {
	t.Parallel()
	b := startBroker(t, Config{Limits: Limits{MessageRate: 1}}, nil)
	in := new(inbox)
	subscribe(t, connect(t, options(b, "sub").SetDefaultPublishHandler(in.handle)), "#", nil)
	k := caller{version: 4, id: "fast", keepalive: 1, will: "w"}
	c := k.expect(t, b, 0)
	for range 4 {
		c.send(publishV5("t", 0, 0, 0))
	}
	c.send(mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Pingreq}})
	c.read(mochi.Pingresp)
	_ = c.nc.Close()
	if got, want := in.take(t, "w will"), "t x, t x, t x, t x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	c = k.expect(t, b, 0)
	for range 100 {
		c.send(publishV5("t", 0, 0, 0))
	}
	before := b.Stats().Received
	k.will = ""
	k.expect(t, b, 0)
	if n := b.Stats().Received - before; n > 60 {
		t.Errorf("%d messages were taken before", n)
	}
}
