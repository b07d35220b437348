package devbroker

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// What a device publishes comes to its registry by every name that it has there, and to nobody else.
func TestEventsOfDevice(t *testing.T) {
	b := startLab(t)
	d1 := connect(t, as(b, "d1", "c"))
	r, registry := subscriber(t, b, "r", "r", "$devices/#", "$registries/#", "kitchen/events")
	_, all := subscriber(t, b, "r", "all", "#")
	_, device := subscriber(t, b, "d2", "d2", "$devices/#", "$me/device/#", "#", "$registries/#")
	other, others := subscriber(t, b, "other", "other", "$devices/#", "$registries/#", "#")
	_, broker := subscriber(t, b, "b", "b", "#")

	publish(t, d1, "$devices/d1/events", "1")
	publish(t, d1, "kitchen/events", "2")
	publish(t, d1, "$me/device/events/deep", "3")
	publish(t, d1, "$registries/r/events", "4")
	publish(t, d1, "$devices/d1/state", "5") // not in $devices/#
	publish(t, d1, "$registries/r/events", "last")

	// The order of the names of one message is of no matter.
	got := strings.Split(registry.take(t, "last"), ", ")
	want := []string{
		"$devices/d1/events 1", "kitchen/events 1", "$devices/d1/events 2", "kitchen/events 2",
		"$devices/d1/events/deep 3", "$registries/r/events 4",
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("the registry got %q, want %q", got, want)
	}
	publish(t, d1, "kitchen/state", "last")
	if got := all.take(t, "last"); got != "kitchen/events 1, kitchen/events 2, kitchen/events/deep 3, kitchen/state 5" {
		t.Errorf("# got %q", got)
	}

	// Nobody else: the next that comes to each is meant for it.
	publish(t, r, "$devices/d2/commands", "last")
	if got := device.take(t, "$devices/d2/commands last"); got != "" {
		t.Errorf("another device got %q", got)
	}
	publish(t, other, "$devices/d3/commands", "x")
	publish(t, connect(t, as(b, "d3", "d3")), "$devices/d3/events", "last")
	if got := others.take(t, "last"); got != "" {
		t.Errorf("another registry got %q", got)
	}
	publish(t, connect(t, as(b, "b", "b pub")), "a", "last")
	if got := broker.take(t, "last"); got != "" {
		t.Errorf("a broker got %q", got)
	}
	nothingDropped(t, b)
}

// What a registry publishes comes to the device, or to all of its devices, by every name.
func TestCommands(t *testing.T) {
	b := startLab(t)
	r := connect(t, as(b, "r", "c"))
	_, d1 := subscriber(t, b, "d1", "c", "$devices/d1/commands/#", "$registries/r/commands/#")
	_, me := subscriber(t, b, "d1", "me", "$me/device/commands/#", "$me/registry/commands")
	_, alias := subscriber(t, b, "d1", "alias", "kitchen/+")
	_, d2 := subscriber(t, b, "d2", "c", "$me/device/commands", "$registries/#")

	publish(t, r, "$devices/d1/commands", "1")
	publish(t, r, "kitchen/commands", "2")
	publish(t, r, "$registries/r/commands", "3")
	for name, c := range map[string]struct {
		in   *inbox
		want string
	}{
		"d1": {d1, "$devices/d1/commands 1, $devices/d1/commands 2"},
		"me": {me, "$me/device/commands 1, $me/device/commands 2"},
		"d2": {d2, ""},
	} {
		if got := c.in.take(t, "/commands 3"); got != c.want {
			t.Errorf("%s got %q, want %q", name, got, c.want)
		}
	}
	if got := alias.take(t, "kitchen/commands 2"); got != "kitchen/commands 1" {
		t.Errorf("the alias got %q", got)
	}
}

func TestBrokersAreApart(t *testing.T) {
	b := startLab(t)
	_, in := subscriber(t, b, "b", "in", "#")
	publish(t, connect(t, as(b, "b2", "c")), "a/b", "of another")
	publish(t, connect(t, as(b, "b", "c")), "kitchen/events", "mine")
	publish(t, connect(t, as(b, "b", "c2")), "a/b", "last")
	if got := in.take(t, "a/b last"); got != "kitchen/events mine" {
		t.Errorf("got %q", got)
	}
}

// The same client ID is another session for somebody else.
func TestSessionsBelongToSomebody(t *testing.T) {
	b := startLab(t)
	first := paho.NewClient(as(b, "d1", "same").SetCleanSession(false))
	wait(t, first.Connect())
	defer first.Disconnect(250)
	second := paho.NewClient(as(b, "d2", "same").SetCleanSession(false))
	token := second.Connect()
	wait(t, token)
	defer second.Disconnect(250)
	if token.(*paho.ConnectToken).SessionPresent() {
		t.Error("d2 has the session of d1")
	}
	if !first.IsConnectionOpen() {
		t.Error("d2 has taken over the session of d1")
	}
}

func TestRefusedSubscriptions(t *testing.T) {
	buf, log := newLog()
	b := startBroker(t, Config{Directory: newDirectory(t, labConfig())}, log)
	for who, filters := range map[string][]string{
		"d1": {"$devices/d2/commands", "$devices/d1/events", "$devices/+", "$SYS/#", "$me/#"},
		"r":  {"$devices/d3/events", "$devices/d1/commands", "$registries/other/events", "$me/device/events", "$monitoring/d3/json"},
		"b":  {"$devices/#", "$SYS/broker/uptime"},
	} {
		c := connect(t, as(b, who, "c"))
		for _, filter := range filters {
			token := c.Subscribe(filter, 1, nil)
			token.WaitTimeout(patience)
			if code := token.(*paho.SubscribeToken).Result()[filter]; code != 0x80 {
				t.Errorf("%s subscribes to %s: granted %#x", who, filter, code)
			}
		}
	}
	if n := strings.Count(buf.String(), "refused an MQTT subscription"); n != 3 {
		t.Errorf("want one line for each connection:\n%s", buf)
	}
}

// A refused message of QoS 1 ends the connection of an MQTT 3.1.1 client, which has no other way to learn of it; one of QoS
// 0 is dropped. Neither arrives.
func TestRefusedMessages(t *testing.T) {
	buf, log := newLog()
	b := startBroker(t, Config{Directory: newDirectory(t, labConfig())}, log)
	_, in := subscriber(t, b, "r", "in", "$devices/+/#", "$registries/+/#", "#")
	for who, topics := range map[string][]string{
		"d1":    {"$devices/d2/events", "$devices/d1/commands", "$registries/other/events", "free/topic", "$monitoring/d1/json"},
		"other": {"$devices/d1/commands"},
		"b":     {"$devices/d1/events"},
	} {
		for _, topic := range topics {
			lost := make(chan error, 1)
			c := connect(t, as(b, who, "c").SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err }))
			wait(t, c.Publish(topic, 0, false, "refused"))
			c.Publish(topic, 1, false, "refused")
			select {
			case <-lost:
			case <-time.After(patience):
				t.Errorf("%s publishes to %s: the connection survived", who, topic)
			}
		}
	}
	publish(t, connect(t, as(b, "d1", "end")), "$devices/d1/events", "last")
	if got := in.take(t, "$devices/d1/events last"); got != "" {
		t.Errorf("got %q", got)
	}
	if !strings.Contains(buf.String(), `publishes to its own topics only`) {
		t.Errorf("the log does not say why:\n%s", buf)
	}
}

// The last message of a permanent topic is kept, and sent to who subscribes to it by any of its names, but not to a wildcard.
func TestPermanentTopics(t *testing.T) {
	b := startLab(t)
	d1, r := connect(t, as(b, "d1", "c")), connect(t, as(b, "r", "c"))
	publish(t, d1, "$devices/d1/state", "old")
	publish(t, d1, "kitchen/state", "new")
	publish(t, d1, "$devices/d1/state/door", "shut")
	publish(t, d1, "$devices/d1/events", "not kept")
	publish(t, r, "$devices/d1/config", "for one")
	publish(t, r, "$registries/r/config", "for all")

	for _, c := range []struct{ who, filter, want string }{
		{"r", "$devices/d1/state", "$devices/d1/state new (kept)"},
		{"r", "$devices/d1/state/door", "$devices/d1/state/door shut (kept)"},
		{"r", "kitchen/state", "kitchen/state new (kept)"},
		{"r", "$devices/+/state", ""},
		{"r", "$devices/d1/state/#", ""},
		{"r", "#", ""},
		{"r", "$devices/d1/events", ""},
		{"d1", "$me/device/config", "$me/device/config for one (kept)"},
		{"d1", "kitchen/config", "kitchen/config for one (kept)"},
		{"d2", "$me/device/config", ""},
		{"d2", "$me/registry/config", "$me/registry/config for all (kept)"},
		{"d1", "$registries/r/config", "$registries/r/config for all (kept)"},
		{"d1", "$registries/+/config", ""},
	} {
		// What is kept comes after the SUBACK of its own subscription and before that of the next.
		sub, in := subscriber(t, b, c.who, "sub", c.filter)
		if c.who == "r" {
			subscribe(t, sub, "$registries/r/events", nil)
			publish(t, d1, "$registries/r/events", "last")
		} else {
			subscribe(t, sub, "$registries/r/commands", nil)
			publish(t, r, "$registries/r/commands", "last")
		}
		if got := in.take(t, "last"); got != c.want {
			t.Errorf("%s subscribes to %s: got %q, want %q", c.who, c.filter, got, c.want)
		}
	}

	// Who is there gets it as any message, and an empty one ends the keeping.
	_, live := subscriber(t, b, "r", "live", "$devices/+/state")
	publish(t, d1, "$devices/d1/state", "live")
	publish(t, d1, "$devices/d1/state", "")
	if got := live.take(t, "$devices/d1/state "); got != "$devices/d1/state live" {
		t.Errorf("got %q", got)
	}
	_, in := subscriber(t, b, "r", "cleared", "$devices/d1/state", "$registries/r/events")
	publish(t, d1, "$registries/r/events", "last")
	if got := in.take(t, "last"); got != "" {
		t.Errorf("after an empty message: got %q", got)
	}
}

func TestMonitoringTopics(t *testing.T) {
	b := startLab(t)
	_, in := subscriber(t, b, "r", "in", "$monitoring/+/json")
	_, neighbour := subscriber(t, b, "d2", "in", "$monitoring/d1/json")

	tell := func(in *inbox, topic string, online bool) (a Activity) {
		t.Helper()
		eventually(t, "a monitoring message has come", func() bool {
			in.mu.Lock()
			defer in.mu.Unlock()
			for _, text := range in.list {
				payload, ok := strings.CutPrefix(text, topic+" ")
				if !ok {
					continue
				}
				a = Activity{}
				if err := json.Unmarshal([]byte(payload), &a); err != nil {
					t.Fatal(err)
				}
				if a.Online == online {
					in.list = nil
					return true
				}
			}
			return false
		})
		return a
	}

	d1 := paho.NewClient(as(b, "d1", "c"))
	wait(t, d1.Connect())
	a := tell(in, "$monitoring/d1/json", true)
	if a.DeviceID != "d1" || a.RegistryID != "r" || a.LastAuthIP != "127.0.0.1" || time.Since(a.LastAuthTime) > time.Hour || !a.LastPubActivityTime.IsZero() {
		t.Errorf("got %+v", a)
	}
	tell(neighbour, "$monitoring/d1/json", true)
	publish(t, d1, "$devices/d1/events", "1")
	subscribe(t, d1, "$me/monitoring/json", nil)
	d1.Disconnect(250)
	if a := tell(in, "$monitoring/d1/json", false); a.LastPubActivityTime.IsZero() || a.LastSubActivityTime.IsZero() {
		t.Errorf("got %+v", a)
	}

	_, own := subscriber(t, b, "d1", "own", "$me/monitoring/json")
	connect(t, as(b, "d1", "again"))
	tell(own, "$me/monitoring/json", true)
}

// A will goes where a message of its client would, and one that would go nowhere is refused at once.
func TestWills(t *testing.T) {
	b := startLab(t)
	_, in := subscriber(t, b, "r", "in", "$devices/+/state", "kitchen/state")
	nc := dialRaw(t, b)
	p := connectPacket("mortal", true)
	p.UsernameFlag, p.Username, p.PasswordFlag, p.Password = true, "d1", true, []byte(password)
	p.WillFlag, p.WillTopic, p.WillMessage, p.WillQos = true, "$me/device/state", []byte("gone"), 1
	openRaw(t, nc, p)
	_ = nc.Close()
	if got := in.take(t, "kitchen/state gone"); got != "$devices/d1/state gone" {
		t.Errorf("got %q", got)
	}
	for _, topic := range []string{"$devices/d1/state", "kitchen/state"} {
		_, in := subscriber(t, b, "r", "later", topic)
		if got := in.take(t, " (kept)"); got != "" {
			t.Errorf("got %q", got)
		}
	}

	p.WillTopic, p.ClientIdentifier = "$devices/d2/state", "fraud"
	answer := exchange(t, dialRaw(t, b), p)
	if ack, ok := answer.(*packets.ConnackPacket); !ok || ack.ReturnCode == packets.Accepted {
		t.Errorf("a will to another's topic: %v", answer)
	}
}

func TestUsersBesideRegistries(t *testing.T) {
	_, err := Start(Config{Address: "127.0.0.1:0", Users: map[string]string{"a": "b"}, Directory: newDirectory(t, labConfig())}, nil)
	if err == nil || !strings.Contains(err.Error(), "remove the users") {
		t.Errorf("got %v", err)
	}
}

func TestLogins(t *testing.T) {
	buf, log := newLog()
	b := startBroker(t, Config{Directory: newDirectory(t, labConfig())}, log)
	for name, o := range map[string]*paho.ClientOptions{
		"wrong password": options(b, "c").SetUsername("d1").SetPassword("wrong"),
		"unknown user":   as(b, "nobody", "c"),
		"no password":    options(b, "c").SetUsername("d1"),
		"no user":        options(b, "c"),
	} {
		token := paho.NewClient(o).Connect()
		if !token.WaitTimeout(patience) || token.(*paho.ConnectToken).ReturnCode() != packets.ErrRefusedNotAuthorised {
			t.Errorf("%s: %v", name, token.Error())
		}
	}
	closeBroker(t, b)
	if n := strings.Count(buf.String(), "refused an MQTT client"); n != 4 || strings.Contains(buf.String(), "wrong\"") {
		t.Errorf("log:\n%s", buf)
	}
}

// Retained messages of $ topics are not for a wildcard at the top [MQTT-4.7.2-1].
func TestWildcardAndRetained(t *testing.T) {
	b := startBroker(t, Config{}, nil)
	pub := connect(t, options(b, "pub"))
	wait(t, pub.Publish("$devices/d/state", 1, true, "x"))
	wait(t, pub.Publish("a/_/b", 1, true, "y"))
	in := new(inbox)
	sub := connect(t, options(b, "sub").SetDefaultPublishHandler(in.handle))
	subscribe(t, sub, "#", nil)
	// SUBACK may come before the messages that are kept.
	if got := in.take(t, "a/_/b y (kept)"); got != "" {
		t.Errorf("got %q", got)
	}
	publish(t, pub, "z", "last")
	if got := in.take(t, "z last"); got != "" {
		t.Errorf("got %q", got)
	}
}
