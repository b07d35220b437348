package devbroker

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// A restart keeps persistent sessions, what waits in them, and retained messages.
func TestRestart(t *testing.T) {
	const before, away, after = 50, 300, 50
	file := filepath.Join(t.TempDir(), "broker.db")
	b := startBroker(t, Config{File: file}, nil)
	got := newNumbers()
	session := func(b *Broker) *paho.ClientOptions {
		return options(b, "sub").SetCleanSession(false).SetDefaultPublishHandler(got.handle)
	}
	sub := paho.NewClient(session(b))
	wait(t, sub.Connect())
	subscribe(t, sub, "$devices/+/events/#", nil)
	pub := connect(t, options(b, "pub"))
	publishNumbers(t, pub, "$devices/d/events", 0, before, 0)
	got.untilCount(t, before)
	cl, _ := b.server.Clients.Get("sub")
	eventually(t, "all is acknowledged", func() bool { return cl.State.Inflight.Len() == 0 })
	sub.Disconnect(250)

	publishNumbers(t, pub, "$devices/d/events/a", before, before+away, 0)
	wait(t, pub.Publish("a/kept", 1, true, "7"))
	wait(t, pub.Publish("a/forgotten", 1, true, "8"))
	wait(t, pub.Publish("a/forgotten", 1, true, ""))
	closeBroker(t, b)

	b = startBroker(t, Config{File: file}, nil)
	pub = connect(t, options(b, "pub"))
	publishNumbers(t, pub, "$devices/d/events/a", before+away, before+away+after, 0)
	back := paho.NewClient(session(b))
	token := back.Connect()
	wait(t, token)
	defer back.Disconnect(250)
	if !token.(*paho.ConnectToken).SessionPresent() {
		t.Error("the session is gone")
	}
	inOrder(t, got.untilCount(t, before+away+after), before+away+after)

	in := new(inbox)
	reader := connect(t, options(b, "reader").SetDefaultPublishHandler(in.handle))
	subscribe(t, reader, "a/+", nil)
	earlier := in.take(t, "a/kept 7 (kept)") // which need not come before what is published meanwhile
	publish(t, pub, "a/x", "last")
	if others := earlier + in.take(t, "last"); others != "" {
		t.Errorf("kept as well: %q", others)
	}
	nothingDropped(t, b)
}

// A message that is acknowledged to its publisher is on disk, whatever comes then: a copy of the file, taken at any moment
// after that, holds it.
func TestCrash(t *testing.T) {
	const count = 100
	dir := t.TempDir()
	b := startBroker(t, Config{File: filepath.Join(dir, "broker.db")}, nil)
	sub := paho.NewClient(options(b, "sub").SetCleanSession(false))
	wait(t, sub.Connect())
	subscribe(t, sub, "a", nil)
	sub.Disconnect(250)
	publishNumbers(t, connect(t, options(b, "pub")), "a", 0, count, 0)

	crashed := copyFile(t, filepath.Join(dir, "broker.db"), filepath.Join(dir, "crashed.db"))
	b = startBroker(t, Config{File: crashed}, nil)
	got := newNumbers()
	connect(t, options(b, "sub").SetCleanSession(false).SetDefaultPublishHandler(got.handle))
	inOrder(t, got.untilCount(t, count), count)
}

func copyFile(t testing.TB, from, to string) string {
	t.Helper()
	content, err := os.ReadFile(from) // #nosec G304 -- the test's own
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil { // #nosec G703
		t.Fatal(err)
	}
	return to
}

// What was refused, unsubscribed or ended is not there after a restart, nor what belongs to nobody any more.
func TestNothingComesBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broker.db")
	b := startBroker(t, Config{File: file, Directory: newDirectory(t, labConfig())}, nil)
	session := func(b *Broker, who string) paho.Client {
		c := paho.NewClient(as(b, who, "c").SetCleanSession(false))
		wait(t, c.Connect())
		return c
	}
	d1 := session(b, "d1")
	subscribe(t, d1, "$me/device/commands", nil)
	subscribe(t, d1, "$me/device/config", nil)
	d1.Subscribe("$devices/d2/commands", 1, nil).WaitTimeout(patience) // refused
	wait(t, d1.Unsubscribe("$me/device/config"))
	d2 := session(b, "d2")
	subscribe(t, d2, "$registries/r/commands", nil)
	d3 := session(b, "d3")
	subscribe(t, d3, "$me/device/commands", nil)
	for _, c := range []paho.Client{d1, d2, d3} {
		c.Disconnect(250)
	}
	connect(t, as(b, "d3", "c")).Disconnect(250) // a clean session ends the one before
	r := connect(t, as(b, "r", "c"))
	for _, topic := range []string{"$devices/d1/commands", "$devices/d1/config", "$registries/r/commands", "$devices/d2/config"} {
		publish(t, r, topic, "x")
	}
	closeBroker(t, b)

	cfg := labConfig()
	cfg.Registries[0].Devices = cfg.Registries[0].Devices[:1] // d2 has left
	b = startBroker(t, Config{File: file, Directory: newDirectory(t, cfg)}, nil)
	var ids []string
	for id, cl := range b.server.Clients.GetAll() {
		ids = append(ids, id)
		if subs := cl.State.Subscriptions.GetAll(); len(subs) != 1 {
			t.Errorf("%s: subscriptions %v", id, subs)
		}
		if n := cl.State.Inflight.Len(); n != 1 {
			t.Errorf("%s: %d messages wait", id, n)
		}
	}
	if strings.Join(ids, " ") != "d1/c" {
		t.Errorf("sessions %q", ids)
	}
	if all := b.server.Topics.Messages("#"); len(all) != 3 { // the config of d1, by three names
		t.Errorf("kept: %v", all)
	}
}

func TestFileInUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broker.db")
	startBroker(t, Config{File: file}, nil)
	if _, err := Start(Config{Address: "127.0.0.1:0", File: file}, nil); err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Errorf("got %v", err)
	}
	if _, err := Start(Config{Address: "127.0.0.1:0", File: filepath.Join(file, "x")}, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

// What has been sent again to a session is the same after a restart, and what a session before it has begun is forgotten.
func TestQoS2AfterRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broker.db")
	b := startBroker(t, Config{File: file}, nil)
	come := func(start string) *talker {
		c := &talker{nc: dialRaw(t, b)}
		must(t, c.exchange(`10 "MQTT" 05 `+start+` 003c 05 110000ffff "c"`, "20 ..."))
		return c
	}
	c := come("02")
	must(t, c.exchange(`82 0001 00 "a" 02`, "90 0001 00 02"))
	publishes := func(answer string) { // to itself
		t.Helper()
		c.send(encode(`34 "a" 0007 00 31`))
		for range 2 { // in any order
			p, err := c.read()
			must(t, err)
			if p[0] != 0x34 && !bytes.Equal(p, encode(answer)) {
				t.Fatalf("got %x", p)
			}
		}
	}
	publishes("50 0007")
	must(t, c.exchange("50 0001", "62 0001"))
	c = come("00") // without PUBCOMP
	must(t, c.receive("62 0001"))
	closeBroker(t, b)

	b = startBroker(t, Config{File: file}, nil)
	c = come("00")
	must(t, c.receive("62 0001"))
	c = come("02") // and 7 has not been released
	closeBroker(t, b)

	b = startBroker(t, Config{File: file}, nil)
	c = come("00")
	must(t, c.exchange(`82 0001 00 "a" 02`, "90 0001 00 02"))
	publishes("50 0007")
}

// What a client knows is on disk: that it has a session, what it has subscribed to, and what it has been sent.
func TestCrashOfAConnection(t *testing.T) {
	const rounds = 10
	dir := t.TempDir()
	b := startBroker(t, Config{File: filepath.Join(dir, "broker.db")}, nil)
	pub := connect(t, options(b, "pub"))
	for i := range rounds {
		id, name := strconv.Itoa(i), filepath.Join(dir, strconv.Itoa(i))
		c := dialRaw(t, b)
		connectRaw(t, c, id, false)
		subscribeRaw(t, c, "a")
		again := startBroker(t, Config{File: copyFile(t, filepath.Join(dir, "broker.db"), name)}, nil)
		if cl, ok := again.server.Clients.Get(id); !ok || cl.State.Subscriptions.Len() != 1 {
			t.Fatal("the subscription is gone")
		}
		closeBroker(t, again)
		_ = c.Close()
		cl, _ := b.server.Clients.Get(id)
		<-connOf(cl).ended
		publish(t, pub, "a", "x")

		c = dialRaw(t, b)
		connectRaw(t, c, id, false)
		if p := readPublish(t, c); p.Dup {
			t.Error("it has DUP at once")
		}
		again = startBroker(t, Config{File: copyFile(t, filepath.Join(dir, "broker.db"), name)}, nil)
		c = dialRaw(t, again)
		connectRaw(t, c, id, false)
		if p := readPublish(t, c); !p.Dup {
			t.Error("it comes again without DUP")
		}
		closeBroker(t, again)
	}
}
