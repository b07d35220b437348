// Package registry knows who takes part: registries with their devices, and brokers; by what they are recognised, and
// which topics they publish and subscribe to under which names. It does no I/O.
package registry

import (
	"fmt"
	"slices"
	"strings"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// Config is who there is.
type Config struct {
	Registries []Registry
	Brokers    []Broker
}

// Registry is a registry and its devices.
type Registry struct {
	ID      string   `json:"id"`
	Devices []Device `json:"devices"`
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
	ID string `json:"id"`
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

// Directory answers questions about a Config. It may be used concurrently.
type Directory struct {
	principals   map[string]Principal         // by ID
	targets      map[string]map[string]string // registry ID -> alias -> beginning of a device topic
	byDevice     map[string][]alias           // device ID -> its aliases, in alphabetical order
	hashes       map[string][][]byte          // principal ID -> password hashes
	certificates map[string]Principal         // by normalised fingerprint
	passwords    passwords
}

type directoryKey struct{}

// Key is the key under which the process keeps its *Directory for the components.
var Key any = directoryKey{}

// New checks a Config and returns its Directory.
func New(cfg Config) (*Directory, error) {
	d := &Directory{
		principals:   map[string]Principal{},
		targets:      map[string]map[string]string{},
		byDevice:     map[string][]alias{},
		hashes:       map[string][][]byte{},
		certificates: map[string]Principal{},
		passwords:    newPasswords(),
	}
	for _, r := range cfg.Registries {
		p := Principal{Role: RegistryRole, ID: r.ID, Registry: r.ID}
		if err := d.add(p, r.Credentials); err != nil {
			return nil, err
		}
		d.targets[r.ID] = map[string]string{}
		var all []alias
		for _, dev := range r.Devices {
			p := Principal{Role: DeviceRole, ID: dev.ID, Registry: r.ID}
			if err := d.add(p, dev.Credentials); err != nil {
				return nil, fmt.Errorf("%v: %w", Principal{Role: RegistryRole, ID: r.ID}, err)
			}
			own, err := newAliases(dev)
			if err != nil {
				return nil, fmt.Errorf("%v: %w", p, err)
			}
			d.byDevice[dev.ID] = own
			all = append(all, own...)
		}
		if err := checkAliases(all); err != nil {
			return nil, fmt.Errorf("registry %q: %w", r.ID, err)
		}
		for _, a := range all {
			d.targets[r.ID][a.name] = a.target
		}
	}
	for _, b := range cfg.Brokers {
		if err := d.add(Principal{Role: BrokerRole, ID: b.ID}, b.Credentials); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Directory) add(p Principal, c Credentials) error {
	if err := iotcore.ValidateID("the ID of a "+string(p.Role), p.ID); err != nil {
		return err
	}
	if other, ok := d.principals[p.ID]; ok {
		return fmt.Errorf("%v has the same ID as %v: each needs one of its own, since it is the user name to log in with", p, other)
	}
	d.principals[p.ID] = p
	for i, hash := range c.PasswordHashes {
		if err := checkHash(hash); err != nil {
			return fmt.Errorf("%v: password_hashes[%d] %w", p, i, err)
		}
		d.hashes[p.ID] = append(d.hashes[p.ID], []byte(hash))
	}
	for i, text := range c.Fingerprints {
		fingerprint, err := parseFingerprint(text)
		if err != nil {
			return fmt.Errorf("%v: certificate_fingerprints[%d] %w", p, i, err)
		}
		if other, ok := d.certificates[fingerprint]; ok {
			return fmt.Errorf("%v has the same certificate as %v (%s): a certificate belongs to one only", p, other, text)
		}
		d.certificates[fingerprint] = p
	}
	return nil
}

// Principal finds someone by ID.
func (d *Directory) Principal(id string) (Principal, bool) {
	p, ok := d.principals[id]
	return p, ok
}

// HasRegistry reports whether there is a registry with this ID.
func (d *Directory) HasRegistry(id string) bool { return d.principals[id].Role == RegistryRole }

// Devices are the IDs of the devices of a registry, sorted.
func (d *Directory) Devices(registryID string) (ids []string) {
	for id, p := range d.principals {
		if p.Role == DeviceRole && p.Registry == registryID {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Resolve gives the device topic that an alias topic of a registry stands for, and "" if it is none.
func (d *Directory) Resolve(registryID, topic string) string {
	targets := d.targets[registryID]
	if len(targets) == 0 || topic == "" {
		return ""
	}
	if target, ok := targets[topic]; ok {
		return target
	}
	for i := 0; i < len(topic); i++ {
		if topic[i] != '/' {
			continue
		}
		if target, ok := targets[topic[:i+1]]; ok { // my/alias/
			return target + topic[i+1:]
		}
		if target, ok := targets[topic[:i]]; ok { // my/alias
			return target + topic[i:]
		}
	}
	return ""
}

// aliasNames gives the names that a topic of a device has by its aliases.
func (d *Directory) aliasNames(deviceID, topic string) (names []string) {
	for _, a := range d.byDevice[deviceID] {
		rest, ok := strings.CutPrefix(topic, a.target)
		if ok && (rest == "" || strings.HasSuffix(a.target, "/") || rest[0] == '/') {
			names = append(names, a.name+rest)
		}
	}
	return names
}
