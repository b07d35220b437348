package tests

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// publish5 publishes over MQTT 5, with properties as mosquitto_pub takes them.
func (b *broker) publish5(topic, payload string, properties ...string) {
	b.t.Helper()
	host, port, _ := strings.Cut(b.addr, ":")
	args := []string{"-V", "5", "-h", host, "-p", port, "-q", "1", "-t", topic, "-m", payload}
	for _, p := range properties {
		args = append(args, "-D", "publish")
		args = append(args, strings.SplitN(p, " ", 3)...)
	}
	if out, err := exec.Command(toolPath("mosquitto_pub"), args...).CombinedOutput(); err != nil {
		b.t.Fatalf("mosquitto_pub: %v: %s", err, out)
	}
}

// TestMQTT5 goes from a broker that speaks it to a page: properties reach the pipeline, and envelopes are as over MQTT 3.1.1.
func TestMQTT5(t *testing.T) {
	t.Parallel()
	b := startMosquitto(t)
	config := trigger(b, "registry_id: home\nprotocol: 5", "")
	config = strings.Replace(config, "iot_trigger: {}",
		`iot_trigger: { created_at: '${! metadata("mqtt_user_property_time").or(metadata("iot_received_at")) }' }`, 1)
	cast := runIotcast(t, config)
	page := cast.page("/telemetry")
	b.publish5("$devices/boiler/events", "1", "user-property time 2020-01-02T03:04:05Z", "content-type text/plain")
	b.publish5("$devices/boiler/events", "2")
	first, second := nextMessage(t, page), nextMessage(t, page)
	if at := first.EventMetadata.CreatedAt; at != "2020-01-02T03:04:05Z" {
		t.Errorf("created_at of a message with its own time is %s", at)
	}
	if at, err := time.Parse(time.RFC3339Nano, second.EventMetadata.CreatedAt); err != nil || time.Since(at) > time.Hour {
		t.Errorf("created_at of a message without is %s: %v", second.EventMetadata.CreatedAt, err)
	}
}

// deviceMessage is what is looked at of a message of an envelope.
type deviceMessage struct {
	EventMetadata struct {
		CreatedAt string `json:"created_at"`
	} `json:"event_metadata"`
	Details struct{ Payload []byte }
}

// nextMessage is that of the next envelope, which must be its only one.
func nextMessage(t *testing.T, ws *websocket.Conn) deviceMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, envelope, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Messages []deviceMessage }
	if err := json.Unmarshal(envelope, &all); err != nil || len(all.Messages) != 1 {
		t.Fatalf("%s: %v", envelope, err)
	}
	return all.Messages[0]
}
