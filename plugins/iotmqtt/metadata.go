package iotmqtt

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"iotcast/internal/iotcore"
	"iotcast/internal/mqttclient"
	"iotcast/internal/registry"
	"iotcast/internal/trigger"
	"iotcast/plugins/internal/metakey"
)

// metadata makes Benthos messages of MQTT messages. What is the same for all of
// them is boxed once.
type metadata struct {
	source   iotcore.Source
	registry string
	device   string
	known    *registry.Directory // nil unless it knows the registry
	fixed    map[string]any
	eventIDs *trigger.EventIDs
}

func newMetadata(c config) *metadata {
	m := &metadata{source: c.source, registry: c.registry, device: c.device, eventIDs: trigger.NewEventIDs()}
	m.fixed = map[string]any{metakey.Source: string(c.source)}
	if c.source == iotcore.Broker {
		m.fixed[metakey.BrokerID] = c.broker
	} else {
		m.fixed[metakey.RegistryID] = c.registry
	}
	return m
}

func (md *metadata) message(ctx context.Context, m *mqttclient.Message) *service.Message {
	msg := service.NewMessageWithContext(ctx, m.Payload)
	for k, v := range md.fixed {
		msg.MetaSetMut(k, v)
	}
	if md.source == iotcore.Device {
		msg.MetaSetMut(metakey.DeviceID, md.deviceOf(m.Topic))
	}
	msg.MetaSetMut(metakey.Topic, m.Topic)
	msg.MetaSetMut("mqtt_qos", int(m.QoS))
	msg.MetaSetMut("mqtt_retained", m.Retained)
	msg.MetaSetMut("mqtt_duplicate", m.Duplicate)
	msg.MetaSetMut("mqtt_message_id", int(m.ID))
	msg.MetaSetMut(metakey.ReceivedAt, m.ReceivedAt.Format(time.RFC3339Nano))
	msg.MetaSetMut(metakey.EventID, md.eventIDs.Next())
	return msg
}

// consult takes who is who from the process, if it knows the registry. Without, the topic tells.
func (md *metadata) consult(res *service.Resources) error {
	if md.known != nil || md.source == iotcore.Broker {
		return nil
	}
	v, ok := res.GetGeneric(registry.Key)
	if !ok {
		return nil
	}
	d := v.(*registry.Directory)
	if !d.HasRegistry(md.registry) {
		return nil
	}
	if p, _ := d.Principal(md.device); md.device != "" && p.Registry != md.registry {
		return fmt.Errorf("device_id %q is none of registry %q, whose devices are %q (see iot_registries in the root config)", md.device, md.registry, d.Devices(md.registry))
	}
	md.known = d
	return nil
}

// parse takes a topic apart, or what it stands for, if it is an alias topic of which the process knows.
func (md *metadata) parse(topic string) (string, iotcore.Topic) {
	if md.known != nil {
		if standard := md.known.Resolve(md.registry, topic); standard != "" {
			topic = standard
		}
	}
	return topic, iotcore.ParseTopic(topic)
}

// concerns reports whether a message belongs to the source. Some brokers send
// retained messages of $ topics to # as well, against [MQTT-4.7.2-1]; and with a
// device configured, those of other devices are left out, as far as the topic
// tells, and so are those of devices that are known to be in another registry.
func (md *metadata) concerns(m *mqttclient.Message) bool {
	if md.source == iotcore.Broker {
		return !strings.HasPrefix(m.Topic, "$")
	}
	_, t := md.parse(m.Topic)
	if t.Kind != iotcore.DeviceTopic {
		return true
	}
	if md.known != nil {
		if p, ok := md.known.Principal(t.ID); ok && p.Registry != md.registry {
			return false
		}
	}
	return md.device == "" || t.ID == md.device
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
