package feed

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Event is one of Message, Gap, Connected, Lost, Watching, ChoiceRefused and Data.
type Event interface{ event() }

// Message is one message of a device.
type Message struct {
	EventID    string
	EventType  string
	CreatedAt  time.Time
	DeviceID   string
	RegistryID string
	BrokerID   string
	Topic      string

	json    bool
	payload json.RawMessage
	base64  *string // with payload_format: json, what is no JSON
}

// Payload is the bytes that the device sent. With Options.JSON it is the JSON of
// the envelope, or the bytes that were no JSON.
func (m Message) Payload() ([]byte, error) {
	switch {
	case m.base64 != nil:
		return base64.StdEncoding.DecodeString(*m.base64)
	case m.json:
		return m.payload, nil
	case m.payload == nil:
		return nil, nil
	}
	var text string
	err := json.Unmarshal(m.payload, &text)
	if err == nil {
		var bytes []byte
		if bytes, err = base64.StdEncoding.DecodeString(text); err == nil {
			return bytes, nil
		}
	}
	return nil, fmt.Errorf("feed: the payload of message %s is not in base64 (if the trigger has payload_format: json, set Options.JSON): %w", m.EventID, err)
}

// Decode parses the payload as JSON.
func (m Message) Decode(value any) error {
	payload, err := m.Payload()
	if err != nil {
		return err
	}
	return json.Unmarshal(payload, value)
}

// Gap says that messages are missing here.
type Gap struct {
	// Reason is "history": the path's history does not reach back to the last
	// message that came. "slow_consumer": this client read too slowly. "no_event_id":
	// the connection was lost before a message came, so there was nothing to go on behind.
	Reason  string `json:"reason"`
	Dropped int    `json:"dropped"` // messages, for slow_consumer
}

// Connected says that there is a connection.
type Connected struct{}

// Lost says that there is none, or that an attempt has failed.
type Lost struct {
	Err  error
	Wait time.Duration // until the next attempt
}

// Watching is the choice that is in force from here on.
type Watching struct{ Choice }

// ChoiceRefused says why the gateway did not take a choice. That before it stays in force.
type ChoiceRefused struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Data is a message that is no envelope, such as an answer of the path's handlers.
type Data []byte

func (Message) event()       {}
func (Gap) event()           {}
func (Connected) event()     {}
func (Lost) event()          {}
func (Watching) event()      {}
func (ChoiceRefused) event() {}
func (Data) event()          {}

// Choice is whose messages come: those of these devices, and those whose topic
// one of these MQTT filters covers. The zero value is all.
type Choice struct {
	DeviceIDs []string `json:"device_ids,omitempty"`
	Topics    []string `json:"topics,omitempty"`
}

func (c Choice) equal(other Choice) bool {
	return slices.Equal(c.DeviceIDs, other.DeviceIDs) && slices.Equal(c.Topics, other.Topics)
}

func (c Choice) message() []byte {
	text, _ := json.Marshal(map[string]Choice{"watch": c}) // strings always marshal
	return text
}

// envelope is what a gateway sends.
type envelope struct {
	Messages []wire         `json:"messages"`
	Gap      *Gap           `json:"gap"`
	Position string         `json:"last_event_id"` // behind last values: where to go on
	Watch    *Choice        `json:"watch"`
	Error    *ChoiceRefused `json:"error"`
}

type wire struct {
	Metadata struct {
		EventID   string `json:"event_id"`
		EventType string `json:"event_type"`
		CreatedAt string `json:"created_at"`
	} `json:"event_metadata"`
	Details struct {
		DeviceID   string          `json:"device_id"`
		RegistryID string          `json:"registry_id"`
		BrokerID   string          `json:"broker_id"`
		Topic      string          `json:"mqtt_topic"`
		Payload    json.RawMessage `json:"payload"`
		Base64     *string         `json:"payload_base64"`
	} `json:"details"`
}

// parse is false for what is no envelope.
func parse(data []byte) (envelope, bool) {
	var e envelope
	err := json.Unmarshal(data, &e)
	return e, err == nil && e.Messages != nil
}

func (e *envelope) beat() bool {
	return len(e.Messages) == 0 && e.Gap == nil && e.Watch == nil && e.Error == nil
}

// events are what stands before the messages.
func (e *envelope) events() (all []Event) {
	if e.Gap != nil {
		all = append(all, *e.Gap)
	}
	if e.Watch != nil {
		all = append(all, Watching{*e.Watch})
	}
	if e.Error != nil {
		all = append(all, *e.Error)
	}
	return all
}

func (w *wire) message(isJSON bool) Message {
	created, _ := time.Parse(time.RFC3339Nano, w.Metadata.CreatedAt) // zero if it is none
	return Message{
		EventID: w.Metadata.EventID, EventType: w.Metadata.EventType, CreatedAt: created,
		DeviceID: w.Details.DeviceID, RegistryID: w.Details.RegistryID, BrokerID: w.Details.BrokerID, Topic: w.Details.Topic,
		json: isJSON, payload: w.Details.Payload, base64: w.Details.Base64,
	}
}

// recent are the last event IDs, to know a message again.
type recent struct {
	ids  map[string]bool
	ring [1000]string
	next int
}

func (r *recent) has(id string) bool { return r.ids[id] }

func (r *recent) add(id string) {
	if id == "" {
		return
	}
	if r.ids == nil {
		r.ids = make(map[string]bool, len(r.ring))
	}
	delete(r.ids, r.ring[r.next])
	r.ids[id], r.ring[r.next] = true, id
	r.next = (r.next + 1) % len(r.ring)
}
