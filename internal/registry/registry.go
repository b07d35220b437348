// Package registry knows who takes part: registries with their devices, and brokers; by what they are recognised, and
// which topics they publish and subscribe to under which names. It does no I/O.
package registry

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Config is who there is.
type Config struct {
	Registries []Registry
	Brokers    []Broker
}

// Registry is a registry and its devices.
type Registry struct {
	ID       string   `json:"id"`
	Devices  []Device `json:"devices"`
	Disabled bool     `json:"disabled"` // then neither it nor its devices log in or publish
	Credentials
}

// Device is one device of a registry.
type Device struct {
	ID      string            `json:"id"`
	Aliases map[string]string `json:"aliases"` // alias -> beginning of a topic of this device
	Credentials
}

// Broker is a broker.
type Broker struct {
	ID       string `json:"id"`
	Disabled bool   `json:"disabled"` // then it neither logs in nor publishes
	Credentials
}

// Credentials are what someone may be recognised by. None means that nobody can log in as this one.
type Credentials struct {
	PasswordHashes []string `json:"password_hashes"`          // bcrypt, see HashPassword
	Fingerprints   []string `json:"certificate_fingerprints"` // SHA-256 of X.509 certificates, in hexadecimal, colons allowed
}

// Role says what a Principal is.
type Role string

// The roles, in the words of an error message.
const (
	DeviceRole   Role = "device"
	RegistryRole Role = "registry"
	BrokerRole   Role = "broker"
)

// Principal is someone who may log in.
type Principal struct {
	Role     Role
	ID       string // unique among all principals
	Registry string // the ID of the registry that a device is in, or that a registry is; empty for a broker
}

func (p Principal) String() string { return fmt.Sprintf("%s %q", p.Role, p.ID) }

// Directory answers questions about who there is now. It may be used concurrently, also while it changes.
type Directory struct {
	mu           sync.RWMutex            // of what follows; it is held for reading on the way of each message, so never while another is
	members      map[string]*member      // by ID
	certificates map[fingerprint]*member // whose they are

	process   string // the password of the process itself
	passwords passwords
	changes   atomic.Uint64
	listeners listeners
}

// member is a Principal with all that is known of it. What replaces it is another member, so that a reader may keep its
// fields without the lock; only the fleet changes.
type member struct {
	Principal
	disabled     bool // of a broker; registries and devices have it in their fleet
	passwords    []*password
	fingerprints []fingerprint
	aliases      []*alias // of a device, in alphabetical order
	fleet        *fleet   // of a registry and its devices
}

// fleet is what a registry and its devices have in common. It is guarded by the mu of the Directory.
type fleet struct {
	disabled bool
	devices  map[string]*member // by ID
	aliases  aliases
}

func (m *member) off() bool {
	if m.fleet != nil {
		return m.fleet.disabled
	}
	return m.disabled
}

type directoryKey struct{}

// Key is the key under which the process keeps its *Directory for the components.
var Key any = directoryKey{}

// Principal finds someone by ID.
func (d *Directory) Principal(id string) (Principal, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if m := d.members[id]; m != nil {
		return m.Principal, true
	}
	return Principal{}, false
}

// HasRegistry reports whether there is a registry with this ID.
func (d *Directory) HasRegistry(id string) bool {
	p, _ := d.Principal(id)
	return p.Role == RegistryRole
}

// All are the IDs of those that have a role, sorted.
func (d *Directory) All(role Role) (ids []string) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for id, m := range d.members {
		if m.Role == role {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Devices are the IDs of the devices of a registry, sorted.
func (d *Directory) Devices(registryID string) []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	f := d.fleetOf(registryID)
	if f == nil {
		return nil
	}
	ids := make([]string, 0, len(f.devices))
	for id := range f.devices {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Changes counts the changes so far: who has computed something from the Directory learns by it that this may be outdated.
func (d *Directory) Changes() uint64 { return d.changes.Load() }

// fleetOf finds a registry, or returns nil. The caller must hold mu.
func (d *Directory) fleetOf(registryID string) *fleet {
	if m := d.members[registryID]; m != nil && m.Role == RegistryRole {
		return m.fleet
	}
	return nil
}

// isDevice reports whether a registry has a device. The caller must hold mu.
func (d *Directory) isDevice(id, registryID string) bool {
	m := d.members[id]
	return m != nil && m.Role == DeviceRole && m.Registry == registryID
}

// present tells why somebody does not take part now. The caller must hold mu.
func (d *Directory) present(p Principal) error {
	m := d.members[p.ID]
	switch {
	case m == nil || m.Principal != p:
		return because(ErrNotFound, fmt.Errorf("there is no %v", p))
	case m.off():
		return because(ErrForbidden, disabled(p))
	}
	return nil
}

func disabled(p Principal) error {
	if p.Role == DeviceRole {
		return fmt.Errorf("registry %q of %v is disabled", p.Registry, p)
	}
	return fmt.Errorf("%v is disabled", p)
}

// Resolve gives the device topic that an alias topic of a registry stands for, and "" if it is none.
func (d *Directory) Resolve(registryID, topic string) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.resolve(registryID, topic)
}

// resolve does the work of Resolve. The caller must hold mu.
func (d *Directory) resolve(registryID, topic string) string {
	f := d.fleetOf(registryID)
	if f == nil || topic == "" || len(f.aliases.byName) == 0 {
		return ""
	}
	if a := f.aliases.byName[topic]; a != nil {
		return a.target
	}
	for i := 0; i < len(topic); i++ {
		if topic[i] != '/' {
			continue
		}
		if a := f.aliases.byName[topic[:i+1]]; a != nil { // my/alias/
			return a.target + topic[i+1:]
		}
		if a := f.aliases.byName[topic[:i]]; a != nil { // my/alias
			return a.target + topic[i:]
		}
	}
	return ""
}

// aliasNames gives the names that a topic of a device has by its aliases. The caller must hold mu.
func (d *Directory) aliasNames(deviceID, topic string) (names []string) {
	m := d.members[deviceID]
	if m == nil {
		return nil
	}
	for _, a := range m.aliases {
		rest, ok := strings.CutPrefix(topic, a.target)
		if ok && (rest == "" || strings.HasSuffix(a.target, "/") || rest[0] == '/') {
			names = append(names, a.name+rest)
		}
	}
	return names
}
