package tap

import (
	"cmp"
	"container/list"
	"slices"
)

// What is kept of the last messages.
const (
	maxDevices       = 10_000
	maxLatestPayload = 1 << 10 // bytes of each
	maxLatestTopic   = 1 << 10 // bytes; the device ID may be as long as the topic
)

// latest is the last message of each device. It is guarded by Tap.mu.
type latest struct {
	byDevice map[device]*list.Element // of order; nil: nothing is kept
	order    list.List                // of *Message, the one that was received first is the first
}

type device struct{ registry, id string }

func (l *latest) kept() bool { return l.byDevice != nil }

// add takes a message, if it is of a device. Where there are too many, the one is forgotten that has been silent for longest.
func (l *latest) add(m *Message) {
	if !l.kept() || m.DeviceID == "" || len(m.Topic) > maxLatestTopic {
		return
	}
	of := device{m.RegistryID, m.DeviceID}
	at := l.byDevice[of]
	if at == nil {
		if l.order.Len() >= maxDevices {
			silent := l.order.Remove(l.order.Front()).(*Message)
			delete(l.byDevice, device{silent.RegistryID, silent.DeviceID})
		}
		at = l.order.PushBack(new(Message))
		l.byDevice[of] = at
	}
	l.order.MoveToBack(at)
	last := at.Value.(*Message)
	payload := last.Payload[:0]
	*last = *m
	last.PayloadBytes = max(m.PayloadBytes, len(m.Payload))
	kept := m.Payload[:min(len(m.Payload), maxLatestPayload)]
	last.Payload = append(payload, kept...) //nolint:gocritic // the room of the message before is taken again
}

// KeepLatest has the last message of each device kept from now on: of at most 10,000 devices, with 1 KiB of payload each.
func (t *Tap) KeepLatest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.latest.kept() {
		t.latest.byDevice = make(map[device]*list.Element)
	}
	t.receives.Store(true)
}

// KeepsLatest reports whether they are kept.
func (t *Tap) KeepsLatest() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.latest.kept()
}

// Latest is the last message of each device of a registry since KeepLatest, of all registries if it is "", ordered by
// registry and device.
func (t *Tap) Latest(registryID string) (messages []Message) {
	t.mu.Lock()
	for of, at := range t.latest.byDevice {
		if registryID == "" || of.registry == registryID {
			messages = append(messages, at.Value.(*Message).kept(maxLatestPayload))
		}
	}
	t.mu.Unlock()
	slices.SortFunc(messages, func(a, b Message) int {
		return cmp.Or(cmp.Compare(a.RegistryID, b.RegistryID), cmp.Compare(a.DeviceID, b.DeviceID))
	})
	return messages
}
