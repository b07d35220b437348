package registry

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// New checks a Config and returns its Directory.
func New(cfg Config) (*Directory, error) {
	d := &Directory{
		members:      map[string]*member{},
		certificates: map[fingerprint]*member{},
		process:      newProcessPassword(),
		passwords:    newPasswords(),
	}
	for _, r := range cfg.Registries {
		if err := d.load(r); err != nil {
			return nil, err
		}
	}
	for _, b := range cfg.Brokers {
		m, err := newMember(Principal{Role: BrokerRole, ID: b.ID}, b.Credentials)
		if err != nil {
			return nil, err
		}
		m.disabled = b.Disabled
		if err := d.add(m); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// load adds a registry with its devices. Their aliases are put in order once: that is faster than one after the other.
func (d *Directory) load(r Registry) error {
	home, err := newMember(Principal{Role: RegistryRole, ID: r.ID, Registry: r.ID}, r.Credentials)
	if err != nil {
		return err
	}
	home.fleet = &fleet{disabled: r.Disabled, devices: make(map[string]*member, len(r.Devices))}
	if err := d.add(home); err != nil {
		return err
	}
	var all []*alias
	for _, dev := range r.Devices {
		m, err := newDevice(r.ID, dev)
		if err != nil {
			return err
		}
		m.fleet = home.fleet
		if err := d.add(m); err != nil {
			return fmt.Errorf("%v: %w", home.Principal, err)
		}
		all = append(all, m.aliases...)
	}
	if home.fleet.aliases, err = newAliases(all); err != nil {
		return fmt.Errorf("%v: %w", home.Principal, err)
	}
	return nil
}

// newMember checks what can be said of somebody without looking at the others.
func newMember(p Principal, c Credentials) (*member, error) {
	if err := iotcore.ValidateID("the ID of a "+string(p.Role), p.ID); err != nil {
		return nil, because(ErrInvalid, err)
	}
	m := &member{Principal: p}
	if n := max(len(c.PasswordHashes), len(c.Fingerprints)); n > maxCredentials {
		return nil, because(ErrInvalid, fmt.Errorf("%v has %d passwords or certificates: it may have %d of each, since all are tried", p, n, maxCredentials))
	}
	for i, hash := range c.PasswordHashes {
		if err := checkHash(hash); err != nil {
			return nil, because(ErrInvalid, fmt.Errorf("%v: password_hashes[%d] %w", p, i, err))
		}
		m.passwords = append(m.passwords, &password{hash: hash})
	}
	for i, text := range c.Fingerprints {
		f, err := parseFingerprint(text)
		if err == nil && slices.Contains(m.fingerprints, f) {
			err = fmt.Errorf("is there twice: %s", text)
		}
		if err != nil {
			return nil, because(ErrInvalid, fmt.Errorf("%v: certificate_fingerprints[%d] %w", p, i, err))
		}
		m.fingerprints = append(m.fingerprints, f)
	}
	return m, nil
}

func newDevice(registryID string, dev Device) (*member, error) {
	p := Principal{Role: DeviceRole, ID: dev.ID, Registry: registryID}
	m, err := newMember(p, dev.Credentials)
	if err != nil {
		return nil, fmt.Errorf("registry %q: %w", registryID, err)
	}
	if m.aliases, err = ownAliases(dev); err != nil {
		return nil, because(ErrInvalid, fmt.Errorf("%v: %w", p, err))
	}
	return m, nil
}

// PutRegistry adds a registry, or replaces it. Its devices stay as they are: r.Devices is not looked at.
func (d *Directory) PutRegistry(r Registry) error {
	m, err := newMember(Principal{Role: RegistryRole, ID: r.ID, Registry: r.ID}, r.Credentials)
	if err != nil {
		return err
	}
	d.mu.Lock()
	err = d.free(m)
	changed := []string{r.ID}
	if err == nil {
		if m.fleet = d.fleetOf(r.ID); m.fleet == nil {
			m.fleet = &fleet{devices: map[string]*member{}}
		}
		if r.Disabled && !m.fleet.disabled {
			changed = append(changed, m.fleet.ids()...)
		}
		m.fleet.disabled = r.Disabled
		d.replace(m)
	}
	d.mu.Unlock()
	return d.told(err, changed)
}

// PutDevice adds a device to a registry, or replaces it.
func (d *Directory) PutDevice(registryID string, dev Device) error {
	m, err := newDevice(registryID, dev)
	if err != nil {
		return err
	}
	d.mu.Lock()
	m.fleet = d.fleetOf(registryID)
	if m.fleet == nil {
		err = because(ErrNotFound, fmt.Errorf("%v: there is no registry %q", m.Principal, registryID))
	} else if err = d.free(m); err == nil {
		err = m.fleet.aliases.free(m.aliases)
	}
	if err == nil {
		d.replace(m)
	}
	d.mu.Unlock()
	return d.told(err, []string{dev.ID})
}

// PutBroker adds a broker, or replaces it.
func (d *Directory) PutBroker(b Broker) error {
	m, err := newMember(Principal{Role: BrokerRole, ID: b.ID}, b.Credentials)
	if err != nil {
		return err
	}
	m.disabled = b.Disabled
	d.mu.Lock()
	if err = d.free(m); err == nil {
		d.replace(m)
	}
	d.mu.Unlock()
	return d.told(err, []string{b.ID})
}

// Remove removes somebody: a registry with its devices.
func (d *Directory) Remove(id string) {
	d.mu.Lock()
	var changed []string
	if m := d.members[id]; m != nil {
		changed = append(changed, id)
		switch m.Role {
		case RegistryRole:
			changed = append(changed, m.fleet.ids()...)
			for _, device := range m.fleet.devices {
				d.drop(device)
			}
		case DeviceRole:
			delete(m.fleet.devices, id)
			m.fleet.aliases.remove(m.aliases)
		}
		d.drop(m)
	}
	d.mu.Unlock()
	_ = d.told(nil, changed)
}

// Replace makes it the Directory of another config, all or nothing.
func (d *Directory) Replace(cfg Config) error {
	next, err := New(cfg)
	if err != nil {
		return err
	}
	d.mu.Lock()
	concerned := map[string]bool{}
	for id := range d.members {
		concerned[id] = true
	}
	for id, m := range next.members {
		concerned[id] = true
		m.remember(d.members[id])
	}
	d.members, d.certificates = next.members, next.certificates
	d.mu.Unlock()
	return d.told(nil, slices.Collect(maps.Keys(concerned)))
}

func (f *fleet) ids() []string {
	ids := make([]string, 0, len(f.devices))
	for id := range f.devices {
		ids = append(ids, id)
	}
	return ids
}

// add adds somebody whose aliases somebody else puts in order. The caller must hold mu, or be alone.
func (d *Directory) add(m *member) error {
	if other := d.members[m.ID]; other != nil {
		return sameID(m, other)
	}
	if err := d.free(m); err != nil {
		return err
	}
	d.insert(m)
	return nil
}

// free tells what of a member belongs to somebody else. The caller must hold mu.
func (d *Directory) free(m *member) error {
	if other := d.members[m.ID]; other != nil && other.Principal != m.Principal {
		return sameID(m, other)
	}
	for _, f := range m.fingerprints {
		if other := d.certificates[f]; other != nil && other.ID != m.ID {
			return because(ErrTaken, fmt.Errorf("%v has the same certificate as %v (%s): a certificate belongs to one only", m.Principal, other.Principal, f))
		}
	}
	return nil
}

func sameID(m, other *member) error {
	if m.Principal == other.Principal {
		return because(ErrTaken, fmt.Errorf("%v is there twice: each needs an ID of its own, since it is the user name to log in with", m.Principal))
	}
	if m.Role == DeviceRole && other.Role == DeviceRole {
		return because(ErrTaken, fmt.Errorf("%v has the same ID as one of registry %q: each needs one of its own, since it is the user name to log in with", m.Principal, other.Registry))
	}
	return because(ErrTaken, fmt.Errorf("%v has the same ID as %v: each needs one of its own, since it is the user name to log in with", m.Principal, other.Principal))
}

// replace puts a member in the place of the one before, if there was one. The caller must hold mu and have asked free.
func (d *Directory) replace(m *member) {
	if old := d.members[m.ID]; old != nil {
		m.remember(old)
		d.drop(old)
		if m.Role == DeviceRole {
			m.fleet.aliases.remove(old.aliases)
		}
	}
	d.insert(m)
	if m.Role == DeviceRole {
		m.fleet.aliases.insert(m.aliases)
	}
}

// remember takes over what is known of passwords that stay. Old may be nil.
func (m *member) remember(old *member) {
	if old == nil {
		return
	}
	for i, p := range m.passwords {
		for _, known := range old.passwords {
			if known.hash == p.hash {
				m.passwords[i] = known
			}
		}
	}
}

func (d *Directory) insert(m *member) {
	d.members[m.ID] = m
	for _, f := range m.fingerprints {
		d.certificates[f] = m
	}
	if m.Role == DeviceRole {
		m.fleet.devices[m.ID] = m
	}
}

func (d *Directory) drop(m *member) {
	delete(d.members, m.ID)
	for _, f := range m.fingerprints {
		delete(d.certificates, f)
	}
}

// listeners are told of changes.
type listeners struct {
	mu  sync.Mutex
	all []func(changed []string)
}

// OnChange has f called after each change with the IDs of those whom it concerns; with a registry that is disabled or
// removed, these are its devices too. What f reads of the Directory may be newer than the change. Changes that are made at
// the same time are told at the same time.
func (d *Directory) OnChange(f func(changed []string)) {
	d.listeners.mu.Lock()
	defer d.listeners.mu.Unlock()
	d.listeners.all = append(slices.Clip(d.listeners.all), f)
}

// told tells the listeners what has changed, if there is no error, which it returns.
func (d *Directory) told(err error, changed []string) error {
	if err != nil || len(changed) == 0 {
		return err
	}
	d.changes.Add(1)
	d.listeners.mu.Lock()
	all := d.listeners.all
	d.listeners.mu.Unlock()
	for _, f := range all {
		f(changed)
	}
	return nil
}
