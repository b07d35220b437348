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

// Activity is what monitoring topics tell of a device, in the format of the original service, but for online. A time is zero
// if there was none since the start.
type Activity struct {
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
	devices map[string]*Activity
}

func newMonitor() *monitor { return &monitor{devices: map[string]*Activity{}} }

// of finds or makes the activity of a device. It returns nil for others than devices.
func (m *monitor) of(p registry.Principal) *Activity {
	if p.Role != registry.DeviceRole {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.devices[p.ID]
	if a == nil {
		a = &Activity{RegistryID: p.Registry, DeviceID: p.ID}
		m.devices[p.ID] = a
	}
	return a
}

// update changes an activity, of which there may be none, and returns it as it is then.
func (m *monitor) update(a *Activity, change func(now time.Time)) (Activity, bool) {
	if a == nil {
		return Activity{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	change(time.Now().UTC())
	a.Online = a.connections > 0
	return *a, true
}

func (m *monitor) published(a *Activity) {
	m.update(a, func(now time.Time) { a.LastPubActivityTime, a.LastOnlineTime = now, now })
}

func (m *monitor) subscribed(a *Activity) {
	m.update(a, func(now time.Time) { a.LastSubActivityTime, a.LastOnlineTime = now, now })
}

// publishedFor notes that somebody has published for a device, which need not be online.
func (m *monitor) publishedFor(a *Activity) {
	m.update(a, func(now time.Time) { a.LastPubActivityTime = now })
}

func (m *monitor) forget(deviceID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.devices, deviceID)
}

// Activity tells what a device has done since the start. It returns false if there is no such device.
func (b *Broker) Activity(deviceID string) (Activity, bool) {
	p, _ := b.hook.principal(deviceID)
	if p.Role != registry.DeviceRole {
		return Activity{}, false
	}
	m := b.hook.monitor
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.devices[deviceID]; a != nil {
		return *a, true
	}
	return Activity{RegistryID: p.Registry, DeviceID: deviceID}, true
}

// announceConnected publishes that a device has connected.
func (h *hook) announceConnected(cl *mqtt.Client) {
	c := connOf(cl)
	a := h.monitor.of(c.principal)
	c.activity = a
	now, ok := h.monitor.update(a, func(now time.Time) {
		a.connections++
		a.LastOnlineTime = now
		a.LastAuthTime, a.LastAuthIP = now, cl.Net.Remote
		if host, _, err := net.SplitHostPort(cl.Net.Remote); err == nil {
			a.LastAuthIP = host
		}
	})
	if ok {
		h.announce(c.principal, now)
	}
}

// announceDisconnected publishes that a connection of a device has ended.
func (h *hook) announceDisconnected(cl *mqtt.Client) {
	c := connOf(cl)
	a := c.activity
	if now, ok := h.monitor.update(a, func(now time.Time) { a.connections--; a.LastOnlineTime = now }); ok {
		h.announce(c.principal, now)
	}
}

func (h *hook) announce(p registry.Principal, a Activity) {
	payload, err := json.Marshal(a)
	if err != nil { // cannot be: it holds nothing that JSON does not
		h.log.Error("could not write a monitoring message", "device", p.ID, "error", err)
		return
	}
	h.publish(topicsOf(h.directory.Monitoring(p)), packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish}, Payload: payload})
}
