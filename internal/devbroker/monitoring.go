package devbroker

import (
	"encoding/json"
	"net"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

// activity is what monitoring topics tell of a device, in the format of the original service, but for online.
type activity struct {
	LastAuthTime        time.Time `json:"last_auth_time"`
	LastAuthIP          string    `json:"last_auth_ip"`
	LastPubActivityTime time.Time `json:"last_pub_activity_time,omitzero"`
	LastSubActivityTime time.Time `json:"last_sub_activity_time,omitzero"`
	LastOnlineTime      time.Time `json:"last_online_time"`
	RegistryID          string    `json:"registry_id"`
	DeviceID            string    `json:"device_id"`
	Online              bool      `json:"online"`

	connections int
}

// monitor remembers the activity of devices.
type monitor struct {
	mu      sync.Mutex
	devices map[string]*activity
}

func newMonitor() *monitor { return &monitor{devices: map[string]*activity{}} }

// update changes the activity of a device and returns it. It returns false for others than devices.
func (m *monitor) update(p registry.Principal, change func(a *activity, now time.Time)) (activity, bool) {
	if p.Role != registry.DeviceRole {
		return activity{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.devices[p.ID]
	if !ok {
		a = &activity{RegistryID: p.Registry, DeviceID: p.ID}
		m.devices[p.ID] = a
	}
	now := time.Now().UTC()
	a.LastOnlineTime = now
	change(a, now)
	a.Online = a.connections > 0
	return *a, true
}

func (m *monitor) published(p registry.Principal) {
	m.update(p, func(a *activity, now time.Time) { a.LastPubActivityTime = now })
}

func (m *monitor) subscribed(p registry.Principal) {
	m.update(p, func(a *activity, now time.Time) { a.LastSubActivityTime = now })
}

// announceConnected publishes that a device has connected.
func (h *hook) announceConnected(cl *mqtt.Client) {
	p := connOf(cl).principal
	a, ok := h.monitor.update(p, func(a *activity, now time.Time) {
		a.connections++
		a.LastAuthTime, a.LastAuthIP = now, cl.Net.Remote
		if host, _, err := net.SplitHostPort(cl.Net.Remote); err == nil {
			a.LastAuthIP = host
		}
	})
	if ok {
		h.announce(p, a)
	}
}

// announceDisconnected publishes that a connection of a device has ended.
func (h *hook) announceDisconnected(cl *mqtt.Client) {
	p := connOf(cl).principal
	if a, ok := h.monitor.update(p, func(a *activity, _ time.Time) { a.connections-- }); ok {
		h.announce(p, a)
	}
}

func (h *hook) announce(p registry.Principal, a activity) {
	payload, err := json.Marshal(a)
	if err != nil { // cannot be: it holds nothing that JSON does not
		h.log.Error("could not write a monitoring message", "device", p.ID, "error", err)
		return
	}
	h.publish(topicsOf(h.directory.Monitoring(p)), packets.Packet{Payload: payload})
}

// publish publishes a message of the broker itself.
func (h *hook) publish(topics []string, pk packets.Packet) {
	pk.FixedHeader.Type = packets.Publish
	if pk.FixedHeader.Qos > 0 {
		pk.PacketID = 1 // of no meaning, but there must be one
		h.takeover.RLock()
		defer h.takeover.RUnlock()
	}
	for _, topic := range topics {
		pk.TopicName = topic
		if err := h.server.InjectPacket(h.service, pk); err != nil {
			h.log.Error("could not publish a message of the MQTT broker itself", "topic", h.outside(topic), "error", err)
		}
	}
}
