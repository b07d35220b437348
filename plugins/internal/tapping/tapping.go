// Package tapping is how components tell the tap of the process what they do with messages.
package tapping

import (
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/tap"
	"github.com/iotcast/iotcast/plugins/internal/metakey"
)

// Of is the tap of the process, nil if there is none, or none yet: a resource is made before it.
func Of(res *service.Resources) *tap.Tap {
	if t, ok := res.GetGeneric(tap.Key); ok {
		return t.(*tap.Tap)
	}
	return nil
}

// Once is Of when it is first called: with the first message, there is a tap if there will be one.
func Once(res *service.Resources) func() *tap.Tap {
	return sync.OnceValue(func() *tap.Tap { return Of(res) })
}

// EventID is that of a message, "" if it has none.
func EventID(m *service.Message) string {
	id, _ := m.MetaGet(metakey.EventID)
	return id
}

// Message is what the tap keeps of a message, by its metadata.
func Message(m *service.Message, stream string) tap.Message {
	out := tap.Message{EventID: EventID(m), Stream: stream}
	for key, to := range map[string]*string{
		metakey.Source: &out.Source, metakey.RegistryID: &out.RegistryID, metakey.DeviceID: &out.DeviceID,
		metakey.BrokerID: &out.BrokerID, metakey.Topic: &out.Topic,
	} {
		*to, _ = m.MetaGet(key)
	}
	out.Payload, _ = m.AsBytes()
	out.QoS = byte(value[int](m, "mqtt_qos"))
	out.Retained, out.Duplicate = value[bool](m, "mqtt_retained"), value[bool](m, "mqtt_duplicate")
	out.ReceivedAt = value[time.Time](m, metakey.ReceivedAt)
	return out
}

// value is what stands under a key, zero if that is of another type.
func value[T any](m *service.Message, key string) T {
	found, _ := m.MetaGetMut(key)
	of, _ := found.(T)
	return of
}
