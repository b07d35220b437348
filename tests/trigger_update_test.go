package tests

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/iotcast/iotcast/tests/internal/publisher"
)

// Messages flow while the trigger is changed, again and again, also to what is
// refused: all that the broker has accepted arrive, in order.
func TestTriggerUpdateLosesNothing(t *testing.T) {
	t.Parallel()
	const (
		messages = 6000
		updates  = 6
	)
	b := startMosquitto(t, "max_inflight_messages 100")
	d := newDesk(t, b)
	d.do("trigger", "create", "iot-broker", "--name", "press", "--broker-id", "factory",
		"--mqtt-topic", "hall/press", "--batch-size", "20", "--batch-cutoff", "0s",
		"--gateway-id", "main", "--gateway-websocket-broadcast-path", "/telemetry")
	clients := []*client{connectGo(t, d.url("/telemetry")), connectGo(t, d.url("/telemetry"))}

	p := &publisher.Publisher{Addr: b.addr, Topics: []string{"hall/press"}, Count: messages, Window: 100}
	done := startPublisher(t, p, 120*time.Second)
	for i := range updates {
		mark := messages * (i + 1) / (updates + 1)
		eventuallyWithin(t, time.Minute, strconv.Itoa(mark)+" messages are accepted", func() bool { return p.Accepted() >= mark })
		d.do("trigger", "update", "press", "--new-batch-size", strconv.Itoa(10+i), "--description", "update "+strconv.Itoa(i))
		d.mustFail([]string{"/nowhere"}, "trigger", "update", "press", "--new-gateway-websocket-broadcast-path", "/nowhere")
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.publish(1, message{topic: "hall/press", payload: strconv.AppendInt(nil, messages, 10)})
	got := clients[0].numbersUntil(messages)
	arrived := firsts(got)
	if len(arrived) != messages+1 || !slices.IsSorted(arrived) {
		t.Errorf("%d of %d messages arrived, in order: %v", len(arrived), messages+1, slices.IsSorted(arrived))
	}
	t.Logf("%d messages, %d updates: %d came twice", messages, updates, len(got)-len(arrived))
	checkSame(t, clients)
	// Neither a check nor a refusal has connected with the trigger's client ID.
	if n := d.connects(); n != updates+1 {
		t.Errorf("iotcast has connected to its broker %d times, want %d", n, updates+1)
	}
	for _, c := range clients {
		c.mustBeOpen()
	}
}

// With another topic, the old one is no longer listened to, although the broker keeps the session.
func TestTriggerUpdateTopic(t *testing.T) {
	t.Parallel()
	d := newDesk(t, startMosquitto(t))
	d.do(createTelemetry...)
	c := connectGo(t, d.url("/telemetry"))
	d.do("trigger", "update", "internet-of-things", "--name", "telemetry", "--new-mqtt-topic", "$devices/+/state", "--new-name", "states")

	d.mosquittoPub("$devices/boiler/events", "old topic", 1)
	d.mosquittoPub("$devices/boiler/state", "new topic", 1)
	got, _ := c.waitEntries(1)
	if p := payloadsOf(got); !slices.Equal(p, []string{"new topic"}) {
		t.Errorf("received %q", p)
	}
	if list := d.do("trigger", "list"); !strings.Contains(list, "telemetry  states") {
		t.Errorf("listed:\n%s", list)
	}
}

// Of two changes at once, both are there afterwards, or one command is told that it has to try again.
func TestTriggerUpdatesAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t, startMosquitto(t))
	d.do(createTelemetry...)
	for size := 2; size < 6; size++ {
		var both sync.WaitGroup
		for _, change := range [][]string{
			{"--new-batch-size", fmt.Sprint(size)},
			{"--new-batch-cutoff", fmt.Sprintf("%ds", size)},
		} {
			both.Go(func() {
				for {
					_, stderr, code := d.command("", append([]string{"trigger", "update", "telemetry"}, change...)...)
					if code == 0 {
						return
					}
					if !strings.Contains(stderr, "try again") {
						t.Errorf("%v: %s", change, stderr)
						return
					}
				}
			})
		}
		both.Wait()
		got := d.do("trigger", "get", "telemetry")
		mustName(t, got, fmt.Sprintf("size: %q", fmt.Sprint(size)), fmt.Sprintf("cutoff: %ds", size))
	}
}

// Any stream can be updated as safely as a trigger.
func TestStreamUpdate(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	d := newDesk(t, b)
	fields := "broker_id: factory\nclient_id: mine\nclean_session: false\ntopics: [ hall/press ]"
	d.must(http.MethodPost, "/streams/mine", trigger(b, fields, ""))
	d.waitReady()
	c := connectGo(t, d.url("/telemetry"))

	b.publish(1, message{topic: "hall/press", payload: []byte("before")})
	c.waitEntries(1)
	for want, config := range map[string]string{
		`"/nowhere"`:        trigger(b, fields, "path: /nowhere"),
		"(9,1) field topik": trigger(b, fields+"\ntopik: x", ""),
		"clean_session":     trigger(b, "broker_id: factory\nclean_session: false", ""),
		"no-such-resource":  strings.Replace(trigger(b, fields, ""), "iot_trigger: {}", "resource: no-such-resource", 1),
		"yaml:":             "input: [",
	} {
		d.mustFail([]string{want}, "stream", "update", "mine", writeFile(t, config))
	}
	b.publish(1, message{topic: "hall/press", payload: []byte("still")})
	c.waitEntries(2)
	if n := d.connects(); n != 1 {
		t.Errorf("iotcast has connected to its broker %d times", n)
	}

	good := trigger(b, fields, "path: /alarms")
	d.do("stream", "update", "mine", writeFile(t, good), "--check")
	if n := d.connects(); n != 1 {
		t.Errorf("iotcast has connected to its broker %d times", n)
	}
	alarms := connectGo(t, d.url("/alarms"))
	d.doWith(good, "stream", "update", "mine", "-")
	b.publish(1, message{topic: "hall/press", payload: []byte("after")})
	if got, _ := alarms.waitEntries(1); string(got[0].payload) != "after" {
		t.Errorf("received %q", got[0].payload)
	}
}
