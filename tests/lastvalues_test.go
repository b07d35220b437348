package tests

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// withLatest is a configuration of the repository whose route keeps last values.
func withLatest(t *testing.T, config string) (file string) {
	t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	const route = "      - path: /telemetry\n"
	if !strings.Contains(string(text), route) {
		t.Fatalf("%s has no %q", config, route)
	}
	return writeFile(t, strings.Replace(string(text), route, route+"        latest: {}\n", 1))
}

// lastValues are the topics and payloads of the first envelope that has any.
func lastValues(t *testing.T, url string) (all []string) {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	for len(all) == 0 {
		_, data, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if at := strings.LastIndex(text, `],"last_event_id":`); at >= 0 { // behind last values
			text = text[:at] + "]}"
		}
		for _, e := range parseEnvelope(t, text) {
			all = append(all, strings.TrimPrefix(e.topic, "$devices/")+"="+string(e.payload))
		}
	}
	return all
}

// publishValues has two devices publish, the first of them twice; newest are their last
// values.
func publishValues(b *broker) (newest string) {
	b.publish(1,
		message{topic: "$devices/boiler/events", payload: []byte("1")},
		message{topic: "$devices/pump/events", payload: []byte("2")},
		message{topic: "$devices/boiler/events", payload: []byte("3")},
	)
	return "[pump/events=2 boiler/events=3]"
}

// With config/durable the last values are there again when the process was started
// anew, from JetStream.
func TestLastValuesDurable(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	nats := startNATS(t)
	c := newIotcast(t)
	c.env = append(os.Environ(), "MQTT_URL="+b.url(), "NATS_URL="+nats.url(), "GATEWAY_ADDRESS="+c.gateway, "HTTP_ADDRESS="+c.http)
	c.launch("streams", "-o", withLatest(t, "../config/durable/root.yaml"), "../config/durable/streams")
	c.waitLog("Launching")
	c.waitReady()
	want := publishValues(b)
	kept := func() {
		t.Helper()
		eventuallyWithin(t, 2*patience, "both last values are kept", func() bool {
			return c.metric("websocket_latest_messages", `path="/telemetry"`) == 2
		})
		eventually(t, "they are the last", func() bool { // the first may be there before the last
			return fmt.Sprint(lastValues(t, c.url("/telemetry"))) == want
		})
	}
	kept()
	c.kill()
	c.relaunch()
	c.waitReady()
	kept()
}

// A gateway of config/cluster that was started anew has them again, too.
func TestLastValuesCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, "a")
	g := c.gateways[0]
	root := withLatest(t, "../config/cluster/gateway/root.yaml")
	for i, arg := range g.args {
		if strings.HasSuffix(arg, "gateway/root.yaml") {
			g.args[i] = root
		}
	}
	var want string
	for restarts := range 2 {
		g.kill()
		g.start()
		g.waitReady()
		if restarts == 0 {
			want = publishValues(c.broker)
		}
		// Until all is there again, a client gets what there is, and then what comes.
		var got string
		eventuallyWithin(t, 2*patience, "a client gets both last values", func() bool {
			got = fmt.Sprint(lastValues(t, "ws://"+g.gateway+"/telemetry"))
			return got == want
		})
	}
}
