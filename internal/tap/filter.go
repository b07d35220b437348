package tap

import (
	"bytes"
	"slices"
	"strings"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// Filter says what to follow. A message must fit all that is set; one fits DeviceIDs and Topics if it fits either of them.
type Filter struct {
	DeviceIDs []string
	Topics    []string // MQTT filters, which must be valid
	Streams   []string
	Gateway   string // with this or Path, only ways that pass there are told of
	Path      string
	Text      string // in the topic, the device ID or the payload, as far as it is kept; case does not matter
}

// filter is a Filter that is quick. It does not change, so it may be used concurrently.
type filter struct {
	Filter
	devices map[string]struct{}
	topics  iotcore.Trie[struct{}]
}

func newFilter(of Filter) *filter {
	f := &filter{Filter: of, devices: make(map[string]struct{}, len(of.DeviceIDs))}
	f.Text = strings.ToLower(of.Text)
	for _, id := range of.DeviceIDs {
		f.devices[id] = struct{}{}
	}
	for _, topic := range of.Topics {
		f.topics.Add(topic, struct{}{})
	}
	return f
}

// searched is a message that filters are looking through. It is made lower case once for all of them.
type searched struct {
	*Message
	lowered       bool
	topic, device string
	payload       []byte
}

func (s *searched) holds(lower string) bool {
	if !s.lowered {
		s.lowered, s.topic, s.device = true, strings.ToLower(s.Topic), strings.ToLower(s.DeviceID)
		s.payload = bytes.ToLower(s.Payload[:min(len(s.Payload), MaxPayload)])
	}
	return strings.Contains(s.topic, lower) || strings.Contains(s.device, lower) || bytes.Contains(s.payload, []byte(lower))
}

// wants reports whether a message fits, wherever it goes.
func (f *filter) wants(m *searched) bool {
	if len(f.DeviceIDs)+len(f.Topics) > 0 && !f.watches(m.Message) {
		return false
	}
	if len(f.Streams) > 0 && !slices.Contains(f.Streams, m.Stream) {
		return false
	}
	return f.Text == "" || m.holds(f.Text)
}

func (f *filter) watches(m *Message) bool {
	if _, found := f.devices[m.DeviceID]; found && m.DeviceID != "" {
		return true
	}
	found := false
	f.topics.Match(m.Topic, func(struct{}) { found = true })
	return found
}

// elsewhere reports whether messages are told of only once they have passed somewhere.
func (f *filter) elsewhere() bool { return f.Gateway != "" || f.Path != "" }

// passes reports whether a way goes where it must.
func (f *filter) passes(w *Way) bool {
	return !f.elsewhere() || slices.ContainsFunc(w.Steps, func(s Step) bool {
		return s.Gateway != "" && (f.Gateway == "" || s.Gateway == f.Gateway) && (f.Path == "" || s.Path == f.Path)
	})
}
