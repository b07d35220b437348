package devbroker

import (
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

// Publish publishes a message as a registry, device or broker would with QoS 1, and returns when it would be acknowledged.
// Of the errors of registry, it is ErrNotFound if there is no such principal, ErrForbidden if it may not publish to this topic,
// ErrInvalid if nobody may, and ErrNoRoom if the message cannot be kept.
func (b *Broker) Publish(principalID, topic string, payload []byte) error {
	h := b.hook
	p, ok := h.principal(principalID)
	if !ok {
		return fmt.Errorf("%w: %q is no device, registry or broker", registry.ErrNotFound, principalID)
	}
	m, err := h.directory.Publish(p, topic)
	if err != nil {
		return err
	}
	if n := len(topic) + len(payload); n > maxPacketBytes {
		return fmt.Errorf("%w: the message has %d bytes, at most %d are taken", registry.ErrInvalid, n, maxPacketBytes)
	}
	topics := topicsOf(m)
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, Payload: payload}
	if m.Permanent && !h.keep(h.service.ID, topics[0], pk) {
		h.counters.messages.add(byRetainedBytes)
		return fmt.Errorf("%w for more kept messages (mqtt_broker.limits.max_retained_bytes)", registry.ErrNoRoom)
	}
	h.monitor.publishedFor(h.monitor.of(p))
	if _, there := h.principal(principalID); !there { // any more
		h.monitor.forget(principalID)
	}
	h.publish(topics, pk)
	if h.store == nil {
		return nil
	}
	if err := h.store.sync(); err != nil {
		return fmt.Errorf("writing the message to the file of the MQTT broker: %w", err)
	}
	return nil
}

// principal finds somebody, if there is a Directory.
func (h *hook) principal(id string) (registry.Principal, bool) {
	if h.directory == nil {
		return registry.Principal{}, false
	}
	return h.directory.Principal(id)
}

// publish publishes a message of the broker itself.
func (h *hook) publish(topics []string, pk packets.Packet) {
	pk.Origin = h.service.ID
	pk.ProtocolVersion = h.service.Properties.ProtocolVersion
	pk.Created = time.Now().Unix()
	h.handOut(topics, &pk)
}

// publishSystemTopics publishes what mochi has published to $SYS where clients read it, and keeps it, but not on disk.
func (h *hook) publishSystemTopics() {
	for _, pk := range h.server.Topics.Messages(systemTopics + "#") {
		h.server.Topics.RetainMessage(packets.Packet{TopicName: pk.TopicName})
		if h.directory != nil {
			continue // where nobody reads it
		}
		pk.TopicName = ended(pk.TopicName)
		h.kept.mu.Lock()
		h.server.Topics.RetainMessage(pk)
		h.kept.mu.Unlock()
		h.publish([]string{pk.TopicName}, packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, Payload: pk.Payload})
	}
}
