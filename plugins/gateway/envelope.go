package gateway

import (
	"errors"
	"fmt"
	"time"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/iotcore"
)

// Format is how an envelope is written: the JSON document {"messages":[…]} that clients get, on one line. The zero value is the
// format of devices, without a registry.
//
// A message of a device is
//
//	{"event_metadata":{"event_id":"…","event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"2019-09-25T15:51:17.872320525Z"},
//	 "details":{"registry_id":"…","device_id":"…","mqtt_topic":"$devices/…/events","payload":"VGVzdCA0"}}
//
// and one that came over a broker has, in place of the IDs of registry and device,
//
//	"details":{"broker_id":"…","mqtt_topic":"factory/line-1","payload":"VGVzdCA0"}}
type Format struct {
	RegistryID string // of whose devices the messages are, at most 50 characters
	BrokerID   string // set instead, it gives the format of a broker, which has no device IDs

	// JSON writes a payload that is JSON as it is, and any other as payload_base64 (payload_format: json of iot_trigger). Else
	// payload is base64, whatever it holds. iotcast.js and package feed have an option for it.
	JSON bool
}

// Message is what a device said, or what came over a broker.
type Message struct {
	Topic    string // in MQTT's words; clients can choose by it
	DeviceID string // at most 50 characters; empty: the one in a topic that begins with $devices/
	Payload  []byte // any bytes; none at all takes the value out of Options.Latest

	EventID   string    // unique: a client goes on behind the last that it has seen; empty: a new UUID of version 7
	EventType string    // empty: yandex.cloud.events.iot.IoTMessage, which clients of the original service expect
	CreatedAt time.Time // zero: now
}

// Envelope returns the envelope of some messages, the oldest first, for other ways than Broadcast: a file, a queue, a gateway
// on another machine.
func (f Format) Envelope(messages ...Message) ([]byte, error) {
	checked, err := f.check()
	if err != nil {
		return nil, err
	}
	all, err := checked.complete(messages)
	if err != nil {
		return nil, err
	}
	return envelope.AppendEnvelope(nil, checked.of, all), nil
}

// format is a Format that was found to be good.
type format struct {
	Format
	of envelope.Format
}

func (f Format) check() (format, error) {
	checked := format{Format: f}
	if f.BrokerID != "" {
		checked.of = envelope.BrokerFormat
	}
	if f.RegistryID != "" && f.BrokerID != "" {
		return checked, errors.New("gateway: Format has RegistryID and BrokerID: messages come from devices or from a broker")
	}
	if err := errors.Join(iotcore.ValidateIDLength("RegistryID", f.RegistryID), iotcore.ValidateIDLength("BrokerID", f.BrokerID)); err != nil {
		return checked, fmt.Errorf("gateway: %w", err)
	}
	return checked, nil
}

// eventIDs are those of messages that have none.
var eventIDs = envelope.NewEventIDs()

// complete fills in what messages leave out.
func (f *format) complete(messages []Message) ([]envelope.Message, error) {
	all := make([]envelope.Message, len(messages))
	now := time.Now()
	for i, m := range messages {
		if m.DeviceID == "" {
			m.DeviceID = iotcore.DeviceID(m.Topic)
		}
		if err := iotcore.ValidateIDLength("DeviceID", m.DeviceID); err != nil {
			return nil, fmt.Errorf("gateway: a message with the topic %.100q: %w", m.Topic, err)
		}
		if m.EventID == "" {
			m.EventID = eventIDs.Next()
		}
		if m.EventType == "" {
			m.EventType = envelope.DefaultEventType
		}
		if m.CreatedAt.IsZero() {
			m.CreatedAt = now
		}
		all[i] = envelope.Message{
			EventID: m.EventID, EventType: m.EventType, CreatedAt: m.CreatedAt, Topic: m.Topic, Payload: m.Payload,
			RegistryID: f.RegistryID, DeviceID: m.DeviceID, BrokerID: f.BrokerID,
		}
		if f.JSON {
			all[i].PayloadAs = envelope.JSONOrOther(m.Payload)
		}
	}
	return all, nil
}
