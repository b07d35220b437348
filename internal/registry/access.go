package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// Audience is who reads a topic tree. What may be read is decided when a message is published: it is put into the trees of
// those who may read it, under each name that it has there.
//
//	<registry>          read by the registry
//	<registry>/devices  read by all its devices
//	<device>            read by the device
//	<broker>            read by the broker's clients
type Audience string

// devicesOf is the audience of all devices of a registry.
func devicesOf(registryID string) Audience { return Audience(registryID + "/devices") }

// Name is a topic, or a topic filter, in the tree of an audience.
type Name struct {
	Audience Audience
	Topic    string
}

// Message is a message on its way, but for its payload.
type Message struct {
	Names     []Name // where it goes; the first is by the standard topic, if there is one
	Permanent bool   // it is kept as the last of its topic
}

// Audiences are the trees that a principal reads.
func (p Principal) Audiences() []Audience {
	if p.Role == DeviceRole {
		return []Audience{Audience(p.ID), devicesOf(p.Registry)}
	}
	return []Audience{Audience(p.ID)}
}

// Publish says where a message goes that a principal publishes to a topic, and tells why it may not.
func (d *Directory) Publish(p Principal, topic string) (Message, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.present(p); err != nil {
		return Message{}, err
	}
	if p.Role == BrokerRole {
		if err := iotcore.ValidateTopic(iotcore.Broker, topic); err != nil {
			return Message{}, because(ErrInvalid, err)
		}
		return Message{Names: []Name{{Audience(p.ID), topic}}}, nil
	}
	standard, err := d.standard(p, topic)
	if err == nil {
		err = because(ErrInvalid, iotcore.ValidateTopic(iotcore.Device, standard))
	}
	if err != nil {
		return Message{}, err
	}
	t := iotcore.ParseTopic(standard)
	if err := d.mayPublish(p, t); err != nil {
		return Message{}, because(ErrForbidden, fmt.Errorf("topic %q: %w", topic, err))
	}
	return d.message(p.Registry, standard, t), nil
}

// standard gives the standard topic that a device or registry means. The caller must hold mu.
func (d *Directory) standard(p Principal, topic string) (string, error) {
	switch {
	case iotcore.IsOwn(topic):
		if p.Role != DeviceRole {
			return "", because(ErrForbidden, fmt.Errorf("topic %q: only devices have $me topics", topic))
		}
		if standard := iotcore.ExpandOwn(topic, p.Registry, p.ID); standard != "" {
			return standard, nil
		}
		return "", because(ErrInvalid, fmt.Errorf("topic %q: there is no such $me topic", topic))
	case strings.HasPrefix(topic, "$"):
		return topic, nil
	}
	if standard := d.resolve(p.Registry, topic); standard != "" {
		return standard, nil
	}
	return "", because(ErrInvalid, fmt.Errorf("topic %q: begins with no alias of registry %q", topic, p.Registry))
}

// Names are all names that a message to a standard topic of a device or registry has now, the standard one first. They are
// none if there is nobody with this topic.
func (d *Directory) Names(standard string) []Name {
	t := iotcore.ParseTopic(standard)
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := d.members[t.ID]
	if m == nil || !t.Standard() {
		return nil
	}
	if t.Kind == iotcore.DeviceTopic && m.Role == DeviceRole || t.Kind == iotcore.RegistryTopic && m.Role == RegistryRole {
		return d.message(m.Registry, standard, t).Names
	}
	return nil
}

// mayPublish looks at who publishes. The caller must hold mu.
func (d *Directory) mayPublish(p Principal, t iotcore.Topic) error {
	switch {
	case t.FromDevice() && p.Role != DeviceRole:
		return fmt.Errorf("only devices publish to %s, a registry publishes to commands and config", t.Name)
	case !t.FromDevice() && p.Role != RegistryRole:
		return fmt.Errorf("only the registry publishes to %s, a device publishes to events and state", t.Name)
	case t.Kind == iotcore.RegistryTopic && t.ID != p.Registry:
		return fmt.Errorf("%v belongs to registry %q, not to %q", p, p.Registry, t.ID)
	case t.Kind == iotcore.DeviceTopic && p.Role == DeviceRole && t.ID != p.ID:
		return fmt.Errorf("%v publishes to its own topics only", p)
	case t.Kind == iotcore.DeviceTopic && !d.isDevice(t.ID, p.Registry):
		return fmt.Errorf("registry %q has no device %q", p.Registry, t.ID)
	}
	return nil
}

// message is a message to a standard topic of a registry or of a device of it. The caller must hold mu.
func (d *Directory) message(registryID, topic string, t iotcore.Topic) Message {
	m := Message{Permanent: t.Permanent()}
	var reader Audience
	switch {
	case t.FromDevice():
		reader = Audience(registryID)
	case t.Kind == iotcore.DeviceTopic:
		reader = Audience(t.ID)
	default:
		reader = devicesOf(registryID)
	}
	m.Names = append(m.Names, Name{reader, topic})
	if !t.FromDevice() {
		m.Names = append(m.Names, Name{reader, iotcore.OwnName(topic)})
	}
	if t.Kind == iotcore.DeviceTopic {
		for _, name := range d.aliasNames(t.ID, topic) {
			m.Names = append(m.Names, Name{reader, name})
		}
	}
	return m
}

// Monitoring says where a message about a device goes.
func (d *Directory) Monitoring(device Principal) Message {
	topic := iotcore.MonitoringTopicOf(device.ID)
	return Message{Names: []Name{
		{Audience(device.Registry), topic},
		{devicesOf(device.Registry), topic},
		{Audience(device.ID), iotcore.OwnName(topic)},
	}}
}

// Subscribe says what filter in which tree stands for a filter that a principal subscribes to, and tells why it may not, or
// why nothing would ever come of it. A shared subscription is given without its $share/<group>/.
func (d *Directory) Subscribe(p Principal, filter string) (Name, error) {
	source := iotcore.Device
	if p.Role == BrokerRole {
		source = iotcore.Broker
	}
	if err := iotcore.ValidateSubscription(source, filter); err != nil {
		return Name{}, err
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if err := d.present(p); err != nil {
		return Name{}, err
	}
	if filter[0] != '$' {
		return Name{Audience(p.ID), filter}, nil
	}
	var (
		reader Audience
		err    error
	)
	if p.Role == RegistryRole {
		reader = Audience(p.ID)
		filter = iotcore.RegistryFilter(filter)
		err = d.mayRegistryRead(p, filter)
	} else {
		filter = iotcore.DeviceFilter(filter)
		reader, err = d.deviceReads(p, filter)
	}
	if err != nil {
		return Name{}, fmt.Errorf("topic filter %q: %w", filter, err)
	}
	return Name{reader, filter}, nil
}

// levels takes apart the first three levels of a valid filter. A # is all of those that it stands for.
func levels(filter string) (first, id, name string) {
	first, rest, _ := strings.Cut(filter, "/")
	id, rest, _ = strings.Cut(rest, "/")
	name, _, _ = strings.Cut(rest, "/")
	if id == "#" {
		name = "#"
	}
	return first, id, name
}

func isWildcard(level string) bool { return level == "+" || level == "#" }

// mayRegistryRead looks at the filter of a registry. The caller must hold mu.
func (d *Directory) mayRegistryRead(p Principal, filter string) error {
	first, id, name := levels(filter)
	switch {
	case first == "$me":
		return errors.New("only devices have $me topics")
	case first == "$registries" && !isWildcard(id) && id != p.ID:
		return fmt.Errorf("%v does not read the topics of registry %q", p, id)
	case first != "$registries" && !isWildcard(id) && !d.isDevice(id, p.ID):
		return fmt.Errorf("registry %q has no device %q", p.ID, id)
	case name == iotcore.Commands || name == iotcore.Config:
		return fmt.Errorf("a registry publishes to %s, and reads events and state", name)
	}
	return nil
}

// deviceReads gives the tree of a filter of a device. The caller must hold mu.
func (d *Directory) deviceReads(p Principal, filter string) (Audience, error) {
	first, id, name := levels(filter)
	if name == iotcore.Events || name == iotcore.State {
		return "", fmt.Errorf("a device publishes to %s, and reads commands and config", name)
	}
	switch first {
	case "$me":
		if isWildcard(id) {
			return "", errors.New("name what follows $me: device, registry or monitoring")
		}
		if id == "registry" {
			return devicesOf(p.Registry), nil
		}
		return Audience(p.ID), nil
	case "$devices":
		if !isWildcard(id) && id != p.ID {
			return "", fmt.Errorf("%v reads its own topics only", p)
		}
		return Audience(p.ID), nil
	case "$registries":
		if !isWildcard(id) && id != p.Registry {
			return "", fmt.Errorf("%v belongs to registry %q, not to %q", p, p.Registry, id)
		}
		return devicesOf(p.Registry), nil
	default: // monitoring
		if !isWildcard(id) && !d.isDevice(id, p.Registry) {
			return "", fmt.Errorf("registry %q has no device %q", p.Registry, id)
		}
		return devicesOf(p.Registry), nil
	}
}
