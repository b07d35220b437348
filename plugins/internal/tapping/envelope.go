package tapping

import (
	"encoding/base64"
	"encoding/json"
	"time"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/tap"
)

// Messages are those of an envelope that came from elsewhere, in the order of the parts that connections can choose. There
// are none in what is no envelope.
func Messages(text []byte, stream string) (all []tap.Message) {
	err := envelope.Scan(text, func(p envelope.Part) {
		m := tap.Message{EventID: p.EventID, DeviceID: p.DeviceID, Topic: p.Topic, Stream: stream}
		fill(&m, text[p.From:p.To])
		all = append(all, m)
	})
	if err != nil {
		return nil
	}
	return all
}

// fill takes from a message of an envelope what the parts do not tell.
func fill(m *tap.Message, text []byte) {
	var of struct {
		Metadata struct {
			CreatedAt time.Time `json:"created_at"`
		} `json:"event_metadata"`
		Details struct {
			RegistryID string          `json:"registry_id"`
			BrokerID   string          `json:"broker_id"`
			Payload    json.RawMessage `json:"payload"`
			Base64     []byte          `json:"payload_base64"`
		} `json:"details"`
	}
	_ = json.Unmarshal(text, &of) // whoever wrote it: what cannot be read is left out
	m.ReceivedAt, m.RegistryID, m.BrokerID = of.Metadata.CreatedAt, of.Details.RegistryID, of.Details.BrokerID
	m.Source = "device"
	if m.BrokerID != "" {
		m.Source = "broker"
	}
	m.Payload = payload(of.Details.Payload, of.Details.Base64)
}

// payload is what stands there as base64, or else as JSON: nobody says which, and few JSON strings are base64.
func payload(text json.RawMessage, other []byte) []byte {
	if other != nil || text == nil {
		return other
	}
	var quoted string
	if text[0] == '"' && json.Unmarshal(text, &quoted) == nil {
		if bytes, err := base64.StdEncoding.DecodeString(quoted); err == nil {
			return bytes
		}
	}
	return text
}
