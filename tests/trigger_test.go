package tests

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

const readings = 50

// payloads are what devices send: anything.
func payloads() [][]byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return [][]byte{
		[]byte("21.5 °C"),
		[]byte(`{"temperature": 21.5, "unit": "<&>\u2028"}`),
		all,
		{},
		[]byte("\xff\xfe not \xc3\x28 UTF-8"),
	}
}

// largest is the largest message of the original service.
var largest = bytes.Repeat([]byte("0123456789abcdef"), 256<<10/16)

// readingsOf makes messages on topics that end in their number.
func readingsOf(topics []string) []message {
	kinds := payloads()
	messages := make([]message, readings)
	for i := range messages {
		messages[i] = message{topic: fmt.Sprintf("%s/%d", topics[i%len(topics)], i), payload: kinds[i%len(kinds)]}
		if i%20 == 19 {
			messages[i].payload = largest
		}
	}
	return messages
}

// source is a kind of trigger: its topics, and the IDs that envelopes give them.
type source struct {
	name, ids string
	topics    []string
	devices   []string // the device_id for each topic
	registry  string
	broker    string
}

var sources = []source{
	{
		name: "device", ids: "registry_id: home", registry: "home",
		topics:  []string{"$devices/boiler/events", "$devices/cellar/state", "$registries/home/events", "$devices/boiler/commands"},
		devices: []string{"boiler", "cellar", "", ""},
	},
	{
		name: "broker", ids: "broker_id: factory", broker: "factory",
		topics:  []string{"hall/1/press", "hall/2/press", "Halle/größte"},
		devices: []string{"", "", ""},
	},
}

func TestTrigger(t *testing.T) {
	for _, src := range sources {
		for qos, count := range []int{1, 10} {
			t.Run(fmt.Sprintf("%s/QoS %d/batches of %d", src.name, qos, count), func(t *testing.T) {
				t.Parallel()
				testTrigger(t, src, byte(qos), count)
			})
		}
	}
}

func testTrigger(t *testing.T, src source, qos byte, count int) {
	b := startMosquitto(t)
	cast := runIotcast(t, trigger(b, fmt.Sprintf("%s\nqos: %d\nbatching: { count: %d, period: 2s }", src.ids, qos, count), ""))
	clients := connectAll(t, cast.url("/telemetry"))

	sent := readingsOf(src.topics)
	began := time.Now()
	b.publish(qos, sent...)

	got, sizes := clients[0].waitEntries(readings)
	ended := time.Now()
	if len(got) != readings {
		t.Fatalf("%d messages arrived, %d were sent", len(got), readings)
	}
	seen := map[string]bool{}
	for i, e := range got {
		at := i % len(src.topics)
		if e.topic != sent[i].topic || !bytes.Equal(e.payload, sent[i].payload) {
			t.Errorf("message %d: topic %q with %d bytes, want %q with %d, and the same", i, e.topic, len(e.payload), sent[i].topic, len(sent[i].payload))
		}
		if e.registry != src.registry || e.broker != src.broker || e.device != src.devices[at] {
			t.Errorf("message %d: registry %q, device %q, broker %q; want %q, %q, %q", i, e.registry, e.device, e.broker, src.registry, src.devices[at], src.broker)
		}
		if e.createdAt.Before(began) || e.createdAt.After(ended) {
			t.Errorf("message %d: created at %v, not between %v and %v", i, e.createdAt, began, ended)
		}
		if seen[e.eventID] {
			t.Errorf("message %d: event_id %s came before", i, e.eventID)
		}
		seen[e.eventID] = true
	}
	checkBatches(t, sizes, count)
	checkSame(t, clients)
}

// checkBatches: no batch is larger than count, and where messages came fast
// enough, batches were filled.
func checkBatches(t *testing.T, sizes []int, count int) {
	t.Helper()
	full := 0
	for _, n := range sizes {
		if n > count {
			t.Errorf("a batch of %d messages, at most %d are allowed", n, count)
		}
		if n == count {
			full++
		}
	}
	if full == 0 {
		t.Errorf("no batch was filled with %d messages: %v", count, sizes)
	}
}

// checkSame: every client receives the same, byte for byte.
func checkSame(t *testing.T, clients []*client) {
	t.Helper()
	want := clients[0].received()
	for _, c := range clients[1:] {
		got := c.waitMessages(len(want))
		if len(got) != len(want) {
			t.Errorf("%s client: %d envelopes, %s client: %d", c.name, len(got), clients[0].name, len(want))
		}
		for i := range min(len(got), len(want)) {
			if got[i].text != want[i].text || got[i].binary != want[i].binary {
				t.Errorf("%s client: envelope %d differs from that of the %s client", c.name, i, clients[0].name)
			}
		}
		c.mustBeOpen()
	}
}

// A batch that does not fill up goes out when its period is over.
func TestBatchPeriod(t *testing.T) {
	t.Parallel()
	const period = time.Second
	b := startMosquitto(t)
	cast := runIotcast(t, trigger(b, "broker_id: factory\nbatching: { count: 10, period: 1s }", ""))
	c := connectGo(t, cast.url("/telemetry"))
	press := message{topic: "hall/press", payload: []byte("1")}

	// Thirteen: a full batch, and three that wait for seven more.
	b.publish(1, press, press, press, press, press, press, press, press, press, press, press, press, press)
	published := time.Now()
	got, sizes := c.waitEntries(13)
	if len(got) != 13 {
		t.Errorf("%d messages arrived, 13 were sent", len(got))
	}
	if waited := time.Since(published); waited > period+2*time.Second {
		t.Errorf("the last batch went out after %v, its period is %v", waited, period)
	}
	checkBatches(t, sizes, 10)
}
