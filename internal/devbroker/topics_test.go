package devbroker

import (
	"maps"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// Topics that begin with $ are published and subscribed to like any other, and wildcards at the top do not cover them.
func TestTopics(t *testing.T) {
	b := startBroker(t, Config{}, nil)

	type delivery struct{ filter, topic, payload string }
	got := make(chan delivery, 100)
	filters := []string{"$devices/+/events/#", "$devices/dev1/events", "$devices/#", "$registries/r/#", "#", "+/dev1/events", "plain/+"}
	for _, filter := range filters {
		sub := connect(t, options(b, "sub "+filter))
		subscribe(t, sub, filter, func(_ paho.Client, m paho.Message) {
			got <- delivery{filter, m.Topic(), string(m.Payload())}
		})
	}

	pub := connect(t, options(b, "pub"))
	want := map[delivery]int{}
	for topic, covered := range map[string][]string{
		"$devices/dev1/events":        {"$devices/+/events/#", "$devices/dev1/events", "$devices/#"},
		"$devices/dev2/events/a/b":    {"$devices/+/events/#", "$devices/#"},
		"$devices/dev1/state":         {"$devices/#"},
		"$registries/r/commands/x":    {"$registries/r/#"},
		"$monitoring/dev1/json":       {},
		"plain/topic":                 {"plain/+", "#"},
		"room/dev1/events":            {"+/dev1/events", "#"},
		"devices/without/dollar/sign": {"#"},
	} {
		for qos := range byte(3) {
			wait(t, pub.Publish(topic, qos, false, "x"))
			for _, filter := range covered {
				want[delivery{filter, topic, "x"}]++
			}
		}
	}

	// The last message to each filter comes after all the others: then what has come is all that comes.
	count := map[delivery]int{}
	for _, filter := range filters {
		last := strings.NewReplacer("+", "last", "#", "last").Replace(filter)
		wait(t, pub.Publish(last, 1, false, filter))
		for ended := false; !ended; {
			select {
			case d := <-got:
				ended = d.payload == d.filter && d.filter == filter
				if d.payload == "x" {
					count[d]++
				}
			case <-time.After(patience):
				t.Fatalf("%s: no last message; before it: %v", filter, count)
			}
		}
	}
	if !maps.Equal(count, want) {
		t.Errorf("got %v\nwant %v", count, want)
	}
	nothingDropped(t, b)
}

// A # includes the parent level of a wildcard, too (MQTT 3.1.1 section 4.7.1.2), by any name of a topic.
func TestParentLevel(t *testing.T) {
	b := startLab(t)
	publisher := connect(t, as(b, "d1", "pub"))
	for filter, want := range map[string]string{
		"$devices/d1/+/#":       "$devices/d1/events x, $devices/d1/events/a x",
		"$devices/+/events/+/#": "$devices/d1/events/a x",
		"kitchen/+/#":           "kitchen/events x, kitchen/events/a x",
		"+/#":                   "kitchen/events x, kitchen/events/a x",
		"kitchen/events/+/#":    "kitchen/events/a x",
	} {
		_, in := subscriber(t, b, "r", "sub "+filter, filter, "$registries/r/events")
		publish(t, publisher, "$devices/d1/events", "x")
		publish(t, publisher, "$devices/d1/events/a", "x")
		publish(t, publisher, "$registries/r/events", "last")
		if got := in.take(t, "last"); got != want {
			t.Errorf("%s: got %q, want %q", filter, got, want)
		}
	}
}

func TestRetained(t *testing.T) {
	b := startBroker(t, Config{}, nil)
	pub := connect(t, options(b, "pub"))
	wait(t, pub.Publish("$devices/dev1/state", 1, true, "7"))

	got := newNumbers()
	subscribe(t, connect(t, options(b, "sub")), "$devices/dev1/state", got.handle)
	if list := got.untilCount(t, 1); list[0] != 7 {
		t.Errorf("got %v", list)
	}
}

// The largest message of the original service passes, and one that is out of all proportion ends the connection.
func TestMessageSize(t *testing.T) {
	buf, log := newLog()
	b := startBroker(t, Config{}, log)
	got := make(chan int, 1)
	subscribe(t, connect(t, options(b, "sub")), "big", func(_ paho.Client, m paho.Message) { got <- len(m.Payload()) })

	lost := make(chan error, 1)
	pub := connect(t, options(b, "pub").SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err }))
	wait(t, pub.Publish("big", 1, false, make([]byte, 256<<10)))
	select {
	case n := <-got:
		if n != 256<<10 {
			t.Errorf("got %d bytes", n)
		}
	case <-time.After(patience):
		t.Fatal("the message did not arrive")
	}

	pub.Publish("big", 0, false, make([]byte, maxPacketBytes+1))
	select {
	case <-lost:
	case <-time.After(patience):
		t.Fatal("the connection survived")
	}
	closeBroker(t, b)
	if !strings.Contains(buf.String(), "packet too large") {
		t.Errorf("the log does not say why the connection ended: %s", buf)
	}
}

// A subscriber that does not read at all during a burst holds up nobody and misses nothing.
func TestBurstToSlowSubscriber(t *testing.T) {
	const burst = 8_000 // more bytes than the socket takes
	b := startBroker(t, Config{}, nil)

	got := newNumbers()
	wake := make(chan struct{})
	slow := connect(t, options(b, "slow").SetKeepAlive(0)) // or it would miss the answer to a ping, and leave
	subscribe(t, slow, "$devices/+/events", func(c paho.Client, m paho.Message) {
		<-wake // paho stops reading from the socket while a handler runs
		got.handle(c, m)
	})

	quick := newNumbers()
	subscribe(t, connect(t, options(b, "quick")), "$devices/#", quick.handle)

	publishNumbers(t, connect(t, options(b, "pub")), "$devices/dev1/events", 0, burst, 1000)
	inOrder(t, quick.untilCount(t, burst), burst)
	close(wake)
	inOrder(t, got.untilCount(t, burst), burst)
	nothingDropped(t, b)
}
