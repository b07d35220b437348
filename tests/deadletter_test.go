package tests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/Jeffail/gabs/v2"
)

// poison is larger than any envelope may be in these tests.
var poison = message{topic: "$devices/boiler/events", payload: bytes.Repeat([]byte("x"), 100_000)}

func reading(n int) message {
	return message{topic: "$devices/boiler/events", payload: fmt.Appendf(nil, "reading %d", n)}
}

// expectReadings waits for n readings, and expects nothing else.
func expectReadings(t *testing.T, c *client, n int) {
	t.Helper()
	entries, _ := c.waitEntries(n)
	for i, e := range entries {
		if want := string(reading(i).payload); string(e.payload) != want {
			t.Errorf("message %d is %.40q, want %q", i, e.payload, want)
		}
	}
}

// What cannot be sent goes to the dead letter queue of config/dead-letter with
// its reason, and is acknowledged only when that has taken it. What is beside it
// goes out.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	dir := filepath.Join(t.TempDir(), "dead-letters")
	// While the directory is a file, the queue takes nothing.
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cast := newIotcast(t)
	cast.env = append(os.Environ(), "MQTT_URL="+b.url(), "GATEWAY_ADDRESS="+cast.gateway, "DEAD_LETTERS="+dir, "MAX_ENVELOPE_BYTES=65536")
	run := func() *client {
		t.Helper()
		cast.launch("run", "--set", "http.address="+cast.http, "-r", "../resources/*.yaml", "../config/dead-letter/trigger.yaml")
		cast.waitLog("Launching")
		return connectGo(t, cast.url("/telemetry"))
	}
	c := run()
	cast.waitReady()
	b.publish(1, reading(0), poison, reading(1), reading(2))
	c.waitEntries(3)
	cast.waitLog("Failed to")
	eventually(t, "the poisoned message is not acknowledged while the queue does not take it", func() bool {
		return cast.metric("iot_mqtt_unacked", "") > 0
	})
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	letters := filepath.Join(dir, "messages.jsonl")
	eventually(t, "the dead letter is written", func() bool {
		text, _ := os.ReadFile(letters)
		return bytes.HasSuffix(text, []byte("\n"))
	})
	text, err := os.ReadFile(letters)
	if err != nil {
		t.Fatal(err)
	}
	letter, err := gabs.ParseJSON(bytes.SplitAfter(text, []byte("\n"))[0])
	if err != nil {
		t.Fatal(err)
	}
	if reason, _ := letter.Path("reason").Data().(string); !strings.Contains(reason, "exceeds max_bytes 65536") {
		t.Errorf("reason %q", reason)
	}
	if topic, _ := letter.Path("mqtt_topic").Data().(string); topic != poison.topic {
		t.Errorf("topic %q", topic)
	}
	b.publish(1, reading(3))
	eventually(t, "the next reading has arrived", func() bool {
		return strings.Contains(c.received()[len(c.received())-1].text, "cmVhZGluZyAz") // reading 3
	})
	cast.terminate()

	// Nothing comes again.
	lines := bytes.Count(text, []byte("\n"))
	c = run()
	cast.waitReady()
	b.publish(1, reading(0))
	expectReadings(t, c, 1)
	if text, err = os.ReadFile(letters); err != nil || bytes.Count(text, []byte("\n")) != lines {
		t.Errorf("%d dead letters, there were %d; %v", bytes.Count(text, []byte("\n")), lines, err)
	}
}

// A poisoned message does not hold up the trigger, whatever the stream does with
// errors; it is logged and counted.
func TestPoisonedMessage(t *testing.T) {
	const tooLarge = "iot_trigger: { max_bytes: 65536 }"
	for name, test := range map[string]struct {
		count                          int // of a batch
		processor, output, metric, log string
	}{
		"no error handling": {3, tooLarge, "%s", "websocket_broadcast_failed", "exceeds max_bytes 65536"},
		"rejected":          {3, tooLarge, "reject_errored: { %s }", "iot_mqtt_rejected", "exceeds max_bytes 65536"},
		// In a batch of several it would be too large together with the others.
		"too large for the gateway": {1, "iot_trigger: {}", "%s", "iot_mqtt_rejected", "queue_bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startMosquitto(t, "max_inflight_messages 2") // what is never acknowledged is soon in the way
			config := trigger(b, fmt.Sprintf("registry_id: home\nclient_id: iotcast-poison\nclean_session: false\nbatching: { count: %d, period: 50ms }", test.count), "")
			output := fmt.Sprintf(test.output, "websocket_broadcast: { gateway: main, path: /telemetry }")
			config = strings.Replace(config, "iot_trigger: {}", test.processor, 1)
			config, _, _ = strings.Cut(config, "output:")
			config += "output: { " + output + " }\n"
			cast := runIotcast(t, config, "queue_bytes: 65536")
			c := connectGo(t, cast.url("/telemetry"))
			for i := range 5 {
				b.publish(1, reading(2*i), poison, reading(2*i+1))
			}
			expectReadings(t, c, 10)
			cast.waitLog(test.log)
			eventually(t, test.metric+" counts them", func() bool { return cast.metric(test.metric, "") == 5 })
			cast.terminate()
		})
	}
}

// Of a batch of envelopes, those that the gateway takes go out, and only the one
// that it can never send goes to the fallback.
func TestRejectedEnvelope(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	letters := filepath.Join(t.TempDir(), "letters.jsonl")
	// The large one fills an envelope by itself, so that the others have their own.
	config := trigger(b, "registry_id: home\nbatching: { count: 3, period: 10s }", "")
	config = strings.Replace(config, "iot_trigger: {}", "iot_trigger: { max_bytes: 100000 }", 1)
	config, _, _ = strings.Cut(config, "output:")
	config += `output:
  fallback:
    - websocket_broadcast: { gateway: main, path: /telemetry }
    - file: { path: "` + letters + `", codec: lines }
`
	cast := runIotcast(t, config, "queue_bytes: 65536")
	c := connectGo(t, cast.url("/telemetry"))
	large := message{topic: poison.topic, payload: poison.payload[:74_700]}
	b.publish(1, reading(0), large, reading(1))
	expectReadings(t, c, 2)
	var text []byte
	eventually(t, "the dead letter is written", func() bool {
		text, _ = os.ReadFile(letters)
		return bytes.HasSuffix(text, []byte("\n"))
	})
	entries := parseEnvelope(t, strings.TrimSpace(string(text)))
	if len(entries) != 1 || !bytes.Equal(entries[0].payload, large.payload) {
		t.Errorf("%d messages in the dead letter", len(entries))
	}
	if n := cast.metric("websocket_broadcast_rejected", ""); n != 1 {
		t.Errorf("websocket_broadcast_rejected is %v, want 1", n)
	}
	if n := cast.metric("iot_mqtt_rejected", ""); n != 0 {
		t.Errorf("iot_mqtt_rejected is %v, although the fallback has taken it", n)
	}
}
