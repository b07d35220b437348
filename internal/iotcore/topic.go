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
	Name     string // third level: events, state, commands, config, or json for monitoring
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

// DeviceID returns the ID of the device that published to topic, and "" where the topic does not tell. Only the device
// itself publishes to its device topics, save commands and config, which its registry does.
func DeviceID(topic string) string {
	t := ParseTopic(topic)
	if t.Kind != DeviceTopic || t.Name == "commands" || t.Name == "config" {
		return ""
	}
	return t.ID
}
