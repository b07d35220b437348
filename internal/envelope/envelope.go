// Package envelope writes envelopes: the JSON documents in which a trigger sends a batch of IoT messages,
// {"messages":[…]}. The format is a contract with every client, byte for byte, so it is written by hand and in one pass;
// nothing is parsed on the way. Pure functions.
package envelope

import (
	"encoding/base64"
	"time"
)

// DefaultEventType is the event type of every message unless its author chooses another.
const DefaultEventType = "yandex.cloud.events.iot.IoTMessage"

// Format is the shape of a message's details.
type Format uint8

const (
	// DeviceFormat has registry_id, device_id, mqtt_topic and payload.
	DeviceFormat Format = iota
	// BrokerFormat has broker_id, mqtt_topic and payload.
	BrokerFormat
)

// Message is one IoT message on its way into an envelope. The IDs that its format does not carry are ignored.
type Message struct {
	EventID    string    // unique, see EventIDs
	EventType  string    // as a rule DefaultEventType
	CreatedAt  time.Time // written in UTC
	RegistryID string    // DeviceFormat only
	DeviceID   string    // DeviceFormat only; empty where the sender is not a device or not known
	BrokerID   string    // BrokerFormat only
	Topic      string    // as published
	Payload    []byte    // any bytes
	PayloadAs  PayloadAs // how Payload is written; the zero value is right for any
}

// The fixed text of an envelope, in the order in which it is written.
const (
	textOpen       = `{"messages":[`
	textEventID    = `{"event_metadata":{"event_id":`
	textEventType  = `,"event_type":`
	textCreatedAt  = `,"created_at":`
	textRegistryID = `},"details":{"registry_id":`
	textDeviceID   = `,"device_id":`
	textBrokerID   = `},"details":{"broker_id":`
	textTopic      = `,"mqtt_topic":`
	textPayload    = `,"payload":"`
	textBase64     = `,"payload_base64":"`
	textJSON       = `,"payload":`
	textEnd        = `"}}`
	textEndJSON    = `}}`
	textClose      = `]}`
)

const (
	fixedEnvelope = len(textOpen) + len(textClose)
	fixedMessage  = len(textEventID) + len(textEventType) + len(textCreatedAt) + len(textTopic) + len(textPayload) + len(textEnd)
	fixedDevice   = fixedMessage + len(textRegistryID) + len(textDeviceID)
	fixedBroker   = fixedMessage + len(textBrokerID)
)

// AppendOpen appends the beginning of an envelope, up to its first message.
func AppendOpen(dst []byte) []byte { return append(dst, textOpen...) }

// AppendMessage appends one message to an envelope begun with AppendOpen, after a comma unless it is the first.
func AppendMessage(dst []byte, format Format, m *Message) []byte {
	// The envelope itself knows whether it has messages: only an empty one ends in its opening bracket.
	if dst[len(dst)-1] != '[' {
		dst = append(dst, ',')
	}
	dst = append(dst, textEventID...)
	dst = appendString(dst, m.EventID)
	dst = append(dst, textEventType...)
	dst = appendString(dst, m.EventType)
	dst = append(dst, textCreatedAt...)
	dst = appendTime(dst, m.CreatedAt)
	if format == BrokerFormat {
		dst = append(dst, textBrokerID...)
		dst = appendString(dst, m.BrokerID)
	} else {
		dst = append(dst, textRegistryID...)
		dst = appendString(dst, m.RegistryID)
		dst = append(dst, textDeviceID...)
		dst = appendString(dst, m.DeviceID)
	}
	dst = append(dst, textTopic...)
	dst = appendString(dst, m.Topic)
	switch m.PayloadAs {
	case AsJSON:
		return append(appendJSON(append(dst, textJSON...), m.Payload), textEndJSON...)
	case AsOther:
		dst = append(dst, textBase64...)
	default:
		dst = append(dst, textPayload...)
	}
	dst = base64.StdEncoding.AppendEncode(dst, m.Payload)
	return append(dst, textEnd...)
}

// AppendClose appends the end of an envelope.
func AppendClose(dst []byte) []byte { return append(dst, textClose...) }

// Size returns how many bytes AppendMessage appends for m, without the comma between two messages.
func Size(format Format, m *Message) int {
	size := sizeString(m.EventID) + sizeString(m.EventType) + sizeTime(m.CreatedAt) + sizeString(m.Topic) + sizePayload(m)
	if format == BrokerFormat {
		return fixedBroker + size + sizeString(m.BrokerID)
	}
	return fixedDevice + size + sizeString(m.RegistryID) + sizeString(m.DeviceID)
}

// AppendEnvelope appends a whole envelope of msgs, oldest first.
func AppendEnvelope(dst []byte, format Format, msgs []Message) []byte {
	dst = AppendOpen(dst)
	for i := range msgs {
		dst = AppendMessage(dst, format, &msgs[i])
	}
	return AppendClose(dst)
}
