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

// newAliases checks the aliases of a device, one by one, and returns them in alphabetical order.
func newAliases(dev Device) (all []alias, err error) {
	if n := len(dev.Aliases); n > maxAliases {
		return nil, fmt.Errorf("has %d aliases: a device may have %d", n, maxAliases)
	}
	for name, target := range dev.Aliases {
		if err := checkAlias(dev.ID, name, target); err != nil {
			return nil, fmt.Errorf("alias %q: %w", name, err)
		}
		all = append(all, alias{device: dev.ID, name: name, target: target})
	}
	slices.SortFunc(all, func(a, b alias) int { return cmp.Compare(a.name, b.name) })
	return all, nil
}

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

// checkAliases finds two aliases of a registry of which one begins with the other, so that a topic could be meant by either.
func checkAliases(all []alias) error {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b alias) int { return cmp.Compare(a.name, b.name) })
	// In this order, what begins with an alias follows it at once.
	for i := 1; i < len(sorted); i++ {
		short, long := sorted[i-1], sorted[i]
		switch {
		case short.name == long.name:
			return fmt.Errorf("alias %q is there twice, for the devices %q and %q: an alias stands for one thing in a registry",
				long.name, short.device, long.device)
		case strings.HasPrefix(long.name, short.name):
			return fmt.Errorf("alias %q of device %q begins with alias %q of device %q, so a topic could be meant by either: rename one, or end both with a slash if that sets them apart",
				long.name, long.device, short.name, short.device)
		}
	}
	return nil
}
