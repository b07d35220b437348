package tests

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/Jeffail/gabs/v2"
)

// entry is one message of an envelope.
type entry struct {
	topic, device string
	registry      string
	broker        string
	payload       []byte
	eventID       string
	createdAt     time.Time
}

var (
	uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	timeForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$`)
)

// The two formats, as clients of the original service know them: these fields
// in this order, no others, and no white space.
const (
	eventForm  = `{"event_metadata":{"event_id":"%s","event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"%s"},"details":%s}`
	deviceForm = `{"registry_id":"%s","device_id":"%s","mqtt_topic":"%s","payload":"%s"}`
	brokerForm = `{"broker_id":"%s","mqtt_topic":"%s","payload":"%s"}`
)

// parseEnvelope reads an envelope with a JSON library and checks, byte for byte,
// that it is what its values written in the right format give.
func parseEnvelope(t *testing.T, text string) []entry {
	t.Helper()
	doc, err := gabs.ParseJSON([]byte(text))
	if err != nil {
		t.Fatalf("envelope %.300q: %v", text, err)
	}
	var entries []entry
	var written []string
	for _, m := range doc.Path("messages").Children() {
		str := func(path string) string { s, _ := m.Path(path).Data().(string); return s }
		id, created, payload := str("event_metadata.event_id"), str("event_metadata.created_at"), str("details.payload")
		e := entry{
			topic: str("details.mqtt_topic"), device: str("details.device_id"),
			registry: str("details.registry_id"), broker: str("details.broker_id"), eventID: id,
		}
		if e.payload, err = base64.StdEncoding.Strict().DecodeString(payload); err != nil {
			t.Errorf("payload %.100q: %v", payload, err)
		}
		if !uuidForm.MatchString(id) {
			t.Errorf("event_id %q is no UUID in lower case", id)
		}
		if e.createdAt, err = time.Parse(time.RFC3339Nano, created); err != nil || !timeForm.MatchString(created) {
			t.Errorf("created_at %q is not in the form of RFC 3339, in UTC", created)
		}
		details := fmt.Sprintf(deviceForm, e.registry, e.device, e.topic, payload)
		if m.ExistsP("details.broker_id") {
			details = fmt.Sprintf(brokerForm, e.broker, e.topic, payload)
		}
		entries = append(entries, e)
		written = append(written, fmt.Sprintf(eventForm, id, created, details))
	}
	if want := `{"messages":[` + strings.Join(written, ",") + `]}`; text != want {
		t.Errorf("an envelope differs from the format:\n got %.600s\nwant %.600s", text, want)
	}
	if len(entries) == 0 {
		t.Errorf("envelope without messages: %.300q", text)
	}
	return entries
}

// waitEntries waits until the client has received n messages in envelopes, and
// returns them with the number of messages of each envelope.
func (c *client) waitEntries(n int) (all []entry, sizes []int) {
	c.t.Helper()
	read := 0
	c.wait(fmt.Sprintf("%d messages in envelopes", n), func() bool {
		for ; read < len(c.messages); read++ {
			m := c.messages[read]
			if m.binary {
				c.t.Errorf("%s client: an envelope came as a binary message", c.name)
			}
			entries := parseEnvelope(c.t, m.text)
			all, sizes = append(all, entries...), append(sizes, len(entries))
		}
		return len(all) >= n
	})
	return all, sizes
}
