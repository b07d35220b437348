// Package iotcore holds the topic grammar of device, registry and broker topics: what a topic names, which filters make
// sense, which topics a filter covers. Pure functions, no dependencies.
package iotcore

import "strings"

// Source says whose topics a trigger listens to, and with that the format of its messages.
type Source string

const (
	// Device is the source of a registry's or a device's topics.
	Device Source = "device"
	// Broker is the source of a broker's topics.
	Broker Source = "broker"
)

// Kind tells what sort of topic a Topic is.
type Kind uint8

const (
	// OtherTopic is any topic without a fixed structure: a broker topic, an alias, or a malformed one of the kinds below.
	OtherTopic Kind = iota
	// DeviceTopic is $devices/<device>/<name>[/<subtopic>].
	DeviceTopic
	// RegistryTopic is $registries/<registry>/<name>[/<subtopic>].
	RegistryTopic
	// MonitoringTopic is $monitoring/<device>/<name>[/<subtopic>], which the service itself publishes.
	MonitoringTopic
)

// The names of the standard topics: the level after the ID.
const (
	Events   = "events"   // from a device to its registry
	State    = "state"    // likewise, and the last message is kept
	Commands = "commands" // from a registry to a device or to all of its devices
	Config   = "config"   // likewise, and the last message is kept

	monitoringName = "json" // the only monitoring topic
)

const (
	devicesLevel    = "$devices"
	registriesLevel = "$registries"
	monitoringLevel = "$monitoring"
	ownLevel        = "$me"
	shareLevel      = "$share"
)

// Topic is a topic name taken apart. Its strings share the memory of the topic.
type Topic struct {
	Kind     Kind
	ID       string // device or registry ID
	Name     string // third level: Events, State, Commands, Config, or json for monitoring; see Standard
	Subtopic string // everything after the name and its slash
}

// ParseTopic takes a topic name apart. A topic that starts like one of the known kinds but lacks an ID or a name is an
// OtherTopic with no fields set.
func ParseTopic(topic string) Topic {
	// Most broker topics end here: only the topics of a known kind begin with $.
	if topic == "" || topic[0] != '$' {
		return Topic{}
	}
	first, rest, _ := strings.Cut(topic, "/")
	var kind Kind
	switch first {
	case devicesLevel:
		kind = DeviceTopic
	case registriesLevel:
		kind = RegistryTopic
	case monitoringLevel:
		kind = MonitoringTopic
	default:
		return Topic{}
	}
	id, rest, _ := strings.Cut(rest, "/")
	name, subtopic, _ := strings.Cut(rest, "/")
	if id == "" || name == "" {
		return Topic{}
	}
	return Topic{Kind: kind, ID: id, Name: name, Subtopic: subtopic}
}

// Standard reports whether t is one of the topics that the service has: a device or registry topic with one of the four
// names, or the monitoring topic of a device.
func (t Topic) Standard() bool {
	switch t.Kind {
	case DeviceTopic, RegistryTopic:
		return standardName(t.Name)
	case MonitoringTopic:
		return t.Name == monitoringName && t.Subtopic == ""
	default:
		return false
	}
}

// Permanent reports whether the last message to t is kept, and sent to whoever subscribes to exactly this topic.
func (t Topic) Permanent() bool {
	return (t.Kind == DeviceTopic || t.Kind == RegistryTopic) && (t.Name == State || t.Name == Config)
}

// FromDevice reports whether t is one that devices publish to, and their registry reads; the registry publishes to the
// other device and registry topics.
func (t Topic) FromDevice() bool {
	return (t.Kind == DeviceTopic || t.Kind == RegistryTopic) && (t.Name == Events || t.Name == State)
}

func standardName(name string) bool {
	return name == Events || name == State || name == Commands || name == Config
}

// DeviceID returns the ID of the device that published to topic, and "" where the topic does not tell. Only the device
// itself publishes to its device topics, save commands and config, which its registry does.
func DeviceID(topic string) string {
	t := ParseTopic(topic)
	if t.Kind != DeviceTopic || t.Name == Commands || t.Name == Config {
		return ""
	}
	return t.ID
}

// MonitoringTopicOf is the topic on which the service tells about a device.
func MonitoringTopicOf(deviceID string) string {
	return monitoringLevel + "/" + deviceID + "/" + monitoringName
}
