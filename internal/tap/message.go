package tap

import (
	"bytes"
	"time"
)

// MaxPayload is how many bytes of a payload are kept.
const MaxPayload = 16 << 10

// Message is a message as it was received, or as it was taken out of an envelope where its way in this process begins with a
// broadcast.
type Message struct {
	EventID    string
	Source     string // "device" or "broker"
	RegistryID string // of a device source
	DeviceID   string // of a device source; "": the sender is not a device, or not known
	BrokerID   string // of a broker source
	Topic      string

	Payload      []byte // at most MaxPayload bytes of it; the tap keeps a copy of them
	PayloadBytes int    // the whole; 0: that of Payload
	QoS          byte
	Retained     bool
	Duplicate    bool
	Stream       string // of Benthos, which is the ID of a trigger; "" outside streams mode
	ReceivedAt   time.Time
}

// kept is the message with a copy of as much of its payload as is kept.
func (m Message) kept(most int) Message {
	m.PayloadBytes = max(m.PayloadBytes, len(m.Payload))
	m.Payload = bytes.Clone(m.Payload[:min(len(m.Payload), most)])
	return m
}

// size is how many bytes it takes, about.
func (m *Message) size() int { return len(m.Payload) + len(m.Topic) }

// The steps of a message's way.
const (
	Received      = "received"
	LeftOut       = "left_out"       // Reason says why: it is acknowledged, and goes nowhere
	Batched       = "batched"        // Messages: how many the batch has
	Encoded       = "encoded"        // Messages and Bytes of the envelope
	Failed        = "failed"         // in a processor
	Stored        = "stored"         // in the log of a cluster
	Broadcast     = "broadcast"      // to Connections
	Written       = "written"        // what has become of the broadcast
	NoConnections = "no_connections" // to broadcast to, so it was dropped
	Rejected      = "rejected"       // by an output
	Retried       = "retried"        // it goes through the pipeline once more
	Acknowledged  = "acknowledged"   // to the broker
	GivenUp       = "given_up"
)

// Step is a step of a message's way. Fields that say nothing of it are zero.
type Step struct {
	Step        string    `json:"step"`
	At          time.Time `json:"at"` // zero: now
	Stream      string    `json:"stream,omitempty"`
	Messages    int       `json:"messages,omitempty"` // of the batch or envelope
	Bytes       int       `json:"bytes,omitempty"`    // of the envelope
	Gateway     string    `json:"gateway,omitempty"`
	Path        string    `json:"path,omitempty"`
	Connections int       `json:"connections,omitempty"` // broadcast: that are open on the route; written: that got it

	// Of written.
	First        *time.Time `json:"first,omitempty"` // when the first connection got it
	Last         *time.Time `json:"last,omitempty"`
	NotConcerned int        `json:"not_concerned,omitempty"` // connections that had not chosen it
	Waiting      int        `json:"waiting,omitempty"`       // whose socket is still full
	HeldBack     int        `json:"held_back,omitempty"`     // for which an interval holds it back, or what is newer
	Dropped      int        `json:"dropped,omitempty"`       // for which it was dropped
	Closed       int        `json:"closed,omitempty"`        // that ended before

	Reason string `json:"reason,omitempty"`
}

// Way is a message with its steps.
type Way struct {
	Message Message
	Steps   []Step // in the order in which they were noted
	Done    bool   // nothing more comes
}
