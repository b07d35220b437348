package iotmqtt

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/envelope"
	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/mqttclient"
	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
)

// metadata makes Benthos messages of MQTT messages.
type metadata struct {
	source   iotcore.Source
	registry string
	device   string
	broker   string
	eventIDs *envelope.EventIDs
	models   map[kind]*service.Message
	sharing  sharing
	filters  []string
	users    []string // by whom the input may log in

	directory *registry.Directory // who is who, if the process knows
	changes   uint64              // of the directory, to which known and models fit
	known     bool                // the registry is in the directory
	warned    bool                // that it may not be the one that is meant
}

// kind is what messages have in common that a model serves for.
type kind struct {
	topic               string
	qos                 byte
	retained, duplicate bool
}

// maxModels bounds the memory for models, of about 1 KiB each.
const maxModels = 1000

func newMetadata(c config) *metadata {
	return &metadata{
		source: c.source, registry: c.registry, device: c.device, broker: c.broker,
		eventIDs: envelope.NewEventIDs(), models: make(map[kind]*service.Message),
		sharing: c.sharing, filters: c.session.Filters, users: usersOf(c.session),
	}
}

// message makes the message that goes through the pipeline. Its metadata is a
// copy of its model's, with what it has of its own put in: that takes half the
// time of setting one key after the other.
func (md *metadata) message(ctx context.Context, m *mqttclient.Message) *service.Message {
	msg := md.model(m).Copy().WithContext(ctx)
	msg.SetBytes(m.Payload)
	msg.MetaSetImmut(keyMessageID, (*messageID)(m))
	msg.MetaSetImmut(metakey.ReceivedAt, (*receivedAt)(m))
	msg.MetaSetMut(metakey.EventID, md.eventIDs.Next())
	if m.Properties != nil {
		setProperties(msg, m.Properties)
	}
	return msg
}

const keyMessageID = "mqtt_message_id"

// The values that only few pipelines look at are made when somebody does.
type (
	messageID  mqttclient.Message
	receivedAt mqttclient.Message
)

// Copy implements service.ImmutableValue.
func (m *messageID) Copy() any { return int(m.ID) }

// Copy implements service.ImmutableValue.
func (m *receivedAt) Copy() any { return m.ReceivedAt }

// model is a message with the metadata of all messages of one kind, and with
// every key.
func (md *metadata) model(m *mqttclient.Message) *service.Message {
	k := kind{m.Topic, m.QoS, m.Retained, m.Duplicate}
	if model := md.models[k]; model != nil {
		return model
	}
	model := service.NewMessage(nil)
	model.MetaSetMut(metakey.Source, string(md.source))
	if md.source == iotcore.Broker {
		model.MetaSetMut(metakey.BrokerID, md.broker)
	} else {
		model.MetaSetMut(metakey.RegistryID, md.registry)
		model.MetaSetMut(metakey.DeviceID, md.deviceOf(m.Topic))
	}
	model.MetaSetMut(metakey.Topic, m.Topic)
	model.MetaSetMut("mqtt_qos", int(m.QoS))
	model.MetaSetMut("mqtt_retained", m.Retained)
	model.MetaSetMut("mqtt_duplicate", m.Duplicate)
	for _, own := range []string{keyMessageID, metakey.ReceivedAt, metakey.EventID} {
		model.MetaSetMut(own, nil)
	}
	if len(md.models) >= maxModels {
		clear(md.models)
	}
	md.models[k] = model
	return model
}

// consult takes who is who from the process, if it knows. What a registry has may change, and it may be made later: while
// the directory does not have it, the topic tells. But a device that is someone else's now is a mistake.
func (md *metadata) consult(res *service.Resources) error {
	if md.directory == nil {
		if v, ok := res.GetGeneric(registry.Key); ok {
			md.directory = v.(*registry.Directory)
			md.compare()
		}
	}
	if md.directory == nil || md.device == "" {
		return nil
	}
	if p, there := md.directory.Principal(md.device); there && (p.Registry != md.registry || p.Role != registry.DeviceRole) {
		return fmt.Errorf("device_id %q is no device of registry %q, but %v%s", md.device, md.registry, p, ofRegistry(p))
	}
	return nil
}

func ofRegistry(p registry.Principal) string {
	if p.Role != registry.DeviceRole {
		return ""
	}
	return fmt.Sprintf(" of registry %q", p.Registry)
}

// stranger reports whether the process knows the registry, and not the device of this source.
func (md *metadata) stranger() bool {
	if md.directory == nil || md.device == "" || !md.known {
		return false
	}
	_, there := md.directory.Principal(md.device)
	return !there
}

// astray finds a registry or broker that the process does not know, though it knows the user of the input: then one of its own
// must be meant. A process with registries may read others from other brokers, where it says nothing of their users. There are
// those that there are in its place, of which a log has room for some.
func (md *metadata) astray() (user string, there []string) {
	if md.directory == nil {
		return "", nil
	}
	id, role := md.registry, registry.RegistryRole
	if md.source == iotcore.Broker {
		id, role = md.broker, registry.BrokerRole
	}
	if p, _ := md.directory.Principal(id); p.Role == role {
		return "", nil
	}
	for _, user := range md.users {
		if _, known := md.directory.Principal(user); known {
			there = md.directory.All(role)
			return user, there[:min(len(there), 20)]
		}
	}
	return "", nil
}

// warnIfAstray says so once: the envelopes would be of a registry or broker that nobody has.
func (md *metadata) warnIfAstray(log *slog.Logger) {
	user, there := md.astray()
	if user == "" || md.warned {
		return
	}
	md.warned = true
	if md.source == iotcore.Broker {
		log.Warn("There is no such broker in this process now, though it knows the user of this input: envelopes name it all the same. If broker_id is wrong, set it to one of brokers",
			"broker_id", md.broker, "user", user, "brokers", there)
		return
	}
	log.Warn("There is no such registry in this process now, though it knows the user of this input: envelopes name it all the same, and no alias is resolved. If registry_id is wrong, set it to one of registries",
		"registry_id", md.registry, "user", user, "registries", there)
}

// usersOf are those by whom a session may log in: a user in a URL wins.
func usersOf(cfg mqttclient.Config) (users []string) {
	for _, u := range cfg.URLs {
		if u.User != nil {
			users = append(users, u.User.Username())
		} else {
			users = append(users, cfg.User)
		}
	}
	return slices.Compact(users)
}

// refresh forgets what the directory may say otherwise now.
func (md *metadata) refresh() {
	if md.directory != nil && md.changes != md.directory.Changes() {
		md.compare()
	}
}

func (md *metadata) compare() {
	md.changes = md.directory.Changes() // before what is read of it: a change in between is found the next time
	md.known = md.source == iotcore.Device && md.directory.HasRegistry(md.registry)
	clear(md.models)
}

// parse takes a topic apart, or what it stands for, if it is an alias topic of which the process knows.
func (md *metadata) parse(topic string) (string, iotcore.Topic) {
	if md.known {
		if standard := md.directory.Resolve(md.registry, topic); standard != "" {
			topic = standard
		}
	}
	return topic, iotcore.ParseTopic(topic)
}

// covers reports whether a topic, or what it stands for, is one that was asked for.
// RabbitMQ goes on sending what a resumed session was subscribed to.
func (md *metadata) covers(topic string) bool {
	if match(md.filters, topic) {
		return true
	}
	standard, _ := md.parse(topic)
	return standard != topic && match(md.filters, standard)
}

// foreign is why a message does not belong to the source, "" if it does. Some brokers send
// retained messages of $ topics to # as well, against [MQTT-4.7.2-1]; and with a
// device configured, those of other devices are left out, as far as the topic
// tells, and so are those of devices that are known to be in another registry, and
// those of another partition.
func (md *metadata) foreign(m *mqttclient.Message) string {
	if !md.sharing.takes(m) {
		return "it is of another partition"
	}
	if md.source == iotcore.Broker {
		if strings.HasPrefix(m.Topic, "$") {
			return "topics that begin with $ are the broker's"
		}
		return ""
	}
	if md.device == "" && !md.known {
		return ""
	}
	_, t := md.parse(m.Topic)
	if t.Kind != iotcore.DeviceTopic {
		return ""
	}
	if md.known {
		if p, ok := md.directory.Principal(t.ID); ok && p.Registry != md.registry {
			return "the device is of another registry"
		}
	}
	if md.device != "" && t.ID != md.device {
		return "it is of another device"
	}
	return ""
}

// deviceOf is the sending device. An alias topic that is not known does not name
// it, so there the configured device, if there is one, is all that can be known.
func (md *metadata) deviceOf(topic string) string {
	topic, t := md.parse(topic)
	if t.Kind != iotcore.OtherTopic {
		return iotcore.DeviceID(topic)
	}
	return md.device
}
