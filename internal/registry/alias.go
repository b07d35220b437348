package registry

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/iotcast/iotcast/internal/iotcore"
)

// maxAliases is how many aliases a device may have.
const maxAliases = 5

// alias is another name of what topics of a device begin with: with my/alias/ for $devices/x/, the topic my/alias/events is
// $devices/x/events.
type alias struct {
	device       string
	name, target string // both end with a slash, or neither
}

// ownAliases checks the aliases of a device, one by one, and returns them in alphabetical order.
func ownAliases(dev Device) (own []*alias, err error) {
	if n := len(dev.Aliases); n > maxAliases {
		return nil, fmt.Errorf("has %d aliases: a device may have %d", n, maxAliases)
	}
	for name, target := range dev.Aliases {
		if err := checkAlias(dev.ID, name, target); err != nil {
			return nil, fmt.Errorf("alias %q: %w", name, err)
		}
		own = append(own, &alias{device: dev.ID, name: name, target: target})
	}
	slices.SortFunc(own, byName)
	return own, nil
}

func byName(a, b *alias) int { return cmp.Compare(a.name, b.name) }

func checkAlias(deviceID, name, target string) error {
	if strings.HasPrefix(name, "$") {
		return errors.New("must not begin with $: this is how topics are told from aliases")
	}
	if err := iotcore.ValidateTopic(iotcore.Broker, name); err != nil {
		return err
	}
	own := "$devices/" + deviceID
	rest, ok := strings.CutPrefix(target, own)
	if !ok || rest != "" && rest[0] != '/' {
		return fmt.Errorf("stands for %q: it must begin with the topics of this device, %s/", target, own)
	}
	if rest != "" && rest != "/" {
		if err := iotcore.ValidateTopic(iotcore.Device, target); err != nil {
			return err
		}
	}
	if strings.HasSuffix(name, "/") != strings.HasSuffix(target, "/") {
		return fmt.Errorf("stands for %q: end both with a slash, or neither", target)
	}
	return nil
}

// aliases are those of a registry. None begins with another, so that no topic could be meant by two.
type aliases struct {
	byName map[string]*alias
	sorted []*alias // by name: what begins with a name follows it at once
}

func newAliases(all []*alias) (aliases, error) {
	slices.SortFunc(all, byName)
	for i := 1; i < len(all); i++ {
		if err := apart(all[i-1], all[i]); err != nil {
			return aliases{}, err
		}
	}
	a := aliases{sorted: all}
	if len(all) > 0 {
		a.byName = make(map[string]*alias, len(all))
	}
	for _, one := range all {
		a.byName[one.name] = one
	}
	return a, nil
}

// free tells which alias of a device cannot be beside those of the others, or beside another of its own.
func (a *aliases) free(own []*alias) error {
	for i, one := range own {
		if i > 0 {
			if err := apart(own[i-1], one); err != nil {
				return err
			}
		}
		at, _ := slices.BinarySearchFunc(a.sorted, one, byName)
		before, after := at-1, at
		for before >= 0 && a.sorted[before].device == one.device {
			before--
		}
		for after < len(a.sorted) && a.sorted[after].device == one.device {
			after++
		}
		if before >= 0 {
			if err := apart(a.sorted[before], one); err != nil {
				return err
			}
		}
		if after < len(a.sorted) {
			if err := apart(one, a.sorted[after]); err != nil {
				return err
			}
		}
	}
	return nil
}

// apart tells why two aliases, of which the longer comes later, cannot be both.
func apart(short, long *alias) error {
	switch {
	case short.name == long.name:
		return because(ErrTaken, fmt.Errorf("alias %q is there twice, for the devices %q and %q: an alias stands for one thing in a registry",
			long.name, short.device, long.device))
	case strings.HasPrefix(long.name, short.name):
		return because(ErrTaken, fmt.Errorf("alias %q of device %q begins with alias %q of device %q, so a topic could be meant by either: rename one, or end both with a slash if that sets them apart",
			long.name, long.device, short.name, short.device))
	}
	return nil
}

func (a *aliases) insert(own []*alias) {
	if a.byName == nil && len(own) > 0 {
		a.byName = map[string]*alias{}
	}
	for _, one := range own {
		at, _ := slices.BinarySearchFunc(a.sorted, one, byName)
		a.sorted = slices.Insert(a.sorted, at, one)
		a.byName[one.name] = one
	}
}

func (a *aliases) remove(own []*alias) {
	for _, one := range own {
		if at, found := slices.BinarySearchFunc(a.sorted, one, byName); found {
			a.sorted = slices.Delete(a.sorted, at, at+1)
		}
		delete(a.byName, one.name)
	}
}

// Alias is another name of what topics of a device begin with.
type Alias struct{ Name, Target, DeviceID string }

// Aliases are at most limit aliases of a registry after one of them, in alphabetical order.
func (d *Directory) Aliases(registryID, after string, limit int) (all []Alias) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	f := d.fleetOf(registryID)
	if f == nil {
		return nil
	}
	at, found := slices.BinarySearchFunc(f.aliases.sorted, &alias{name: after}, byName)
	if found {
		at++
	}
	for _, a := range f.aliases.sorted[at:min(at+limit, len(f.aliases.sorted))] {
		all = append(all, Alias{Name: a.name, Target: a.target, DeviceID: a.device})
	}
	return all
}
