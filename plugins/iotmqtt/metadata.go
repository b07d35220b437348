package iotmqtt

import (
	"context"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"iotcast/internal/iotcore"
	"iotcast/internal/mqttclient"
	"iotcast/internal/trigger"
	"iotcast/plugins/internal/metakey"
)

// metadata makes Benthos messages of MQTT messages. What is the same for all of
// them is boxed once.
type metadata struct {
	source   iotcore.Source
	device   string
	fixed    map[string]any
	eventIDs *trigger.EventIDs
	sharing  sharing
}

func newMetadata(c config) *metadata {
	m := &metadata{source: c.source, device: c.device, eventIDs: trigger.NewEventIDs(), sharing: c.sharing}
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

// concerns reports whether a message belongs to the source. Some brokers send
// retained messages of $ topics to # as well, against [MQTT-4.7.2-1]; and with a
// device configured, those of other devices are left out, as far as the topic
// tells; and so are those of another partition.
func (md *metadata) concerns(m *mqttclient.Message) bool {
	if !md.sharing.takes(m) {
		return false
	}
	if md.source == iotcore.Broker {
		return !strings.HasPrefix(m.Topic, "$")
	}
	if md.device == "" {
		return true
	}
	t := iotcore.ParseTopic(m.Topic)
	return t.Kind != iotcore.DeviceTopic || t.ID == md.device
}

// deviceOf is the sending device. An alias topic does not name it, so there the
// configured device, if there is one, is all that can be known.
func (md *metadata) deviceOf(topic string) string {
	if id := iotcore.DeviceID(topic); id != "" || iotcore.ParseTopic(topic).Kind != iotcore.OtherTopic {
		return id
	}
	return md.device
}
