package gateway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/iotcast/iotcast/plugins/gateway"
)

// TestEnvelope: the formats are those of the original service, byte for byte.
func TestEnvelope(t *testing.T) {
	at := time.Date(2019, 9, 25, 18, 51, 17, 872320525, time.FixedZone("", 3*3600))
	const id = "2153b5d2-c6af-4c69-a28d-74ce965b7613"
	const metadata = `{"event_metadata":{"event_id":"` + id + `","event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"2019-09-25T15:51:17.872320525Z"},"details":{`
	for name, tc := range map[string]struct {
		format   gateway.Format
		messages []gateway.Message
		want     string
	}{
		"none": {gateway.Format{}, nil, `{"messages":[]}`},
		"devices": {
			gateway.Format{RegistryID: "reg"},
			[]gateway.Message{
				{EventID: id, CreatedAt: at, Topic: "$devices/dev/events", Payload: []byte("Test ")},
				{EventID: id, CreatedAt: at, Topic: "t", DeviceID: "other", Payload: []byte("Test ")},
			},
			`{"messages":[` + metadata + `"registry_id":"reg","device_id":"dev","mqtt_topic":"$devices/dev/events","payload":"VGVzdCA="}},` +
				metadata + `"registry_id":"reg","device_id":"other","mqtt_topic":"t","payload":"VGVzdCA="}}]}`,
		},
		"broker": {
			gateway.Format{BrokerID: "b"},
			[]gateway.Message{{EventID: id, CreatedAt: at, Topic: "factory/line-1", DeviceID: "left out"}},
			`{"messages":[` + metadata + `"broker_id":"b","mqtt_topic":"factory/line-1","payload":""}}]}`,
		},
		"JSON": {
			gateway.Format{JSON: true},
			[]gateway.Message{{EventID: id, CreatedAt: at, Payload: []byte("{\n}")}, {EventID: id, CreatedAt: at, EventType: "mine", Payload: []byte("{")}},
			`{"messages":[` + metadata + `"registry_id":"","device_id":"","mqtt_topic":"","payload":{ }}},` +
				strings.Replace(metadata, "yandex.cloud.events.iot.IoTMessage", "mine", 1) + `"registry_id":"","device_id":"","mqtt_topic":"","payload_base64":"ew=="}}]}`,
		},
	} {
		if got, err := tc.format.Envelope(tc.messages...); err != nil || string(got) != tc.want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, tc.want)
		}
	}
	for want, format := range map[string]gateway.Format{"BrokerID": {BrokerID: strings.Repeat("x", 51)}, "from a broker": {RegistryID: "a", BrokerID: "b"}} {
		if _, err := format.Envelope(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := (gateway.Format{}).Envelope(gateway.Message{DeviceID: strings.Repeat("x", 51)}); err == nil || !strings.Contains(err.Error(), "DeviceID") {
		t.Errorf("a device ID that is too long: %v", err)
	}
}
