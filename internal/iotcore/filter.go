package iotcore

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxFilterBytes is the longest UTF-8 string that MQTT can carry [MQTT-4.7.3-3].
const maxFilterBytes = 65535

// maxSubtopicChars is the longest subtopic: all that follows $devices/<device>/events/ and its like.
const maxSubtopicChars = 1024

// maxLevels is how many levels a topic may have. The original service names no limit but that on length; this is the one
// of mosquitto, and it bounds what a topic costs a broker.
const maxLevels = 200

// DefaultFilters returns the filters of a trigger whose author names no topics: all topics of the broker, of the device,
// or, without a device, of the registry and its devices.
func DefaultFilters(source Source, registryID, deviceID string) []string {
	switch {
	case source == Broker:
		return []string{"#"}
	case deviceID != "":
		return []string{devicesLevel + "/" + deviceID + "/#"}
	default:
		// Not $devices/#, which stands for less: see RegistryFilter.
		return []string{devicesLevel + "/+/#", registriesLevel + "/" + registryID + "/#"}
	}
}

// RegistryFilter is what a filter means when a registry subscribes to it: $devices/# is $devices/+/events/#.
func RegistryFilter(filter string) string {
	if filter == devicesLevel+"/#" {
		return devicesLevel + "/+/" + Events + "/#"
	}
	return filter
}

// DeviceFilter is what a filter means when a device subscribes to it: $registries/# is $registries/+/commands/#.
func DeviceFilter(filter string) string {
	if filter == registriesLevel+"/#" {
		return registriesLevel + "/+/" + Commands + "/#"
	}
	return filter
}

// HasWildcard reports whether filter covers more than one topic.
func HasWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }

// ValidateFilter tells why a trigger on source cannot subscribe to filter, or returns nil. It refuses what MQTT forbids,
// what the source does not offer, and what can never match, since a trigger that silently never fires is the hardest
// mistake to find.
func ValidateFilter(source Source, filter string) error {
	inner, err := unshare(filter)
	if err == nil {
		err = validateSyntax(inner)
	}
	if err == nil && source == Device && isMonitoring(inner) {
		err = errors.New("a trigger cannot listen to monitoring topics: choose device, registry or alias topics")
	}
	if err == nil {
		err = validateReach(source, inner)
	}
	return filterError(filter, err)
}

// ValidateSubscription tells why no client of source can subscribe to filter, or returns nil. To clients, but not to
// triggers, there are monitoring topics as well. A shared subscription is given without its $share/<group>/.
func ValidateSubscription(source Source, filter string) error {
	err := validateSyntax(filter)
	if err == nil {
		err = validateReach(source, filter)
	}
	return filterError(filter, err)
}

// ValidateSyntax tells why filter is none by the rules of MQTT 3.1.1, section 4.7, or returns nil.
func ValidateSyntax(filter string) error { return filterError(filter, validateSyntax(filter)) }

// ValidateLevels tells that a topic or filter has more levels than there may be, or returns nil.
func ValidateLevels(filter string) error {
	if err := validateLevels(filter); err != nil {
		return fmt.Errorf("topic %s: %w", quote(filter), err)
	}
	return nil
}

func validateLevels(filter string) error {
	if n := strings.Count(filter, "/") + 1; n > maxLevels {
		return fmt.Errorf("has %d levels, and topics have at most %d: shorten it", n, maxLevels)
	}
	return nil
}

func filterError(filter string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("topic filter %s: %w", quote(filter), err)
}

func isMonitoring(filter string) bool {
	first, rest, _ := strings.Cut(filter, "/")
	second, _, _ := strings.Cut(rest, "/")
	return first == monitoringLevel || first == ownLevel && second == "monitoring"
}

// unshare returns the filter within a shared subscription $share/<group>/<filter> (MQTT 5.0 section 4.8.2), and any other
// filter as it is.
func unshare(filter string) (string, error) {
	first, rest, _ := strings.Cut(filter, "/")
	if first != shareLevel {
		return filter, nil
	}
	group, inner, found := strings.Cut(rest, "/")
	switch {
	case group == "" || !found || inner == "":
		return "", errors.New("a shared subscription needs a group and a filter: write $share/<group>/<filter>")
	case strings.ContainsAny(group, "+#"): // [MQTT-4.8.2-2]
		return "", errors.New("the group of a shared subscription must not hold wildcards: name it with other characters than + and #")
	case inner == shareLevel || strings.HasPrefix(inner, shareLevel+"/"):
		return "", errors.New("a shared subscription cannot hold another: keep one $share/<group>/")
	}
	return inner, nil
}

func validateSyntax(filter string) error {
	switch {
	case filter == "": // [MQTT-4.7.3-1]
		return errors.New("is empty: give at least one character, or # for all topics that do not begin with $")
	case len(filter) > maxFilterBytes:
		return fmt.Errorf("is %d bytes long, MQTT carries at most %d: shorten it", len(filter), maxFilterBytes)
	case !utf8.ValidString(filter): // [MQTT-1.5.3-1]
		return errors.New("is not valid UTF-8: write it in UTF-8")
	case strings.IndexByte(filter, 0) >= 0: // [MQTT-4.7.3-2]
		return errors.New("holds a NUL character, which MQTT forbids: remove it")
	}
	for rest, more := filter, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case level == "#" && more: // [MQTT-4.7.1-2]
			return errors.New("has # before the end: # must be the last level, use + for one level")
		case level != "#" && strings.Contains(level, "#"): // [MQTT-4.7.1-2]
			return fmt.Errorf("has # beside other characters in the level %s: # must stand alone, as in a/#", quote(level))
		case level != "+" && strings.Contains(level, "+"): // [MQTT-4.7.1-3]
			return fmt.Errorf("has + beside other characters in the level %s: + must stand alone, as in a/+/b", quote(level))
		}
	}
	return nil
}

// validateReach refuses well-formed filters that the source does not serve or that no topic can ever match.
func validateReach(source Source, filter string) error {
	if err := validateLevels(filter); err != nil {
		return err
	}
	if filter[0] != '$' {
		return nil
	}
	if source == Broker {
		return errors.New("broker topics do not begin with $: remove the $, or set registry_id for a device source")
	}
	first, rest, more := strings.Cut(filter, "/")
	switch first {
	case ownLevel:
		return validateOwn(rest, more)
	case devicesLevel, registriesLevel, monitoringLevel:
		return validateStandard(first, rest, more)
	default:
		return fmt.Errorf("can match nothing, since no topics begin with %s: there are $devices/…, $registries/… and $me/…, and aliases, which do not begin with $", first)
	}
}

// validateStandard looks at what follows $devices, $registries or $monitoring in a filter: <ID>/<name>[/<subtopic>].
func validateStandard(first, rest string, more bool) error {
	id, rest, moreThanID := strings.Cut(rest, "/")
	switch {
	case more && id == "#":
		return nil
	case !moreThanID:
		return fmt.Errorf("can match nothing, since a topic under %s has at least three levels: add levels, or end it with /#", first)
	case id == "":
		return fmt.Errorf("can match nothing, since the level after %s is an ID and never empty: name it, or use +", first)
	case id != "+":
		if err := ValidateID("the ID", id); err != nil {
			return fmt.Errorf("can match nothing: %w", err)
		}
	}
	name, subtopic, _ := strings.Cut(rest, "/")
	switch {
	case first == monitoringLevel:
		return validateMonitoring(first+"/"+id, rest)
	case name == "+" || name == "#" || standardName(name):
		return validateSubtopic(subtopic)
	}
	return fmt.Errorf("can match nothing, since after %s/%s comes events, state, commands or config, and not %q", first, id, name)
}

// validateOwn looks at what follows $me in a filter.
func validateOwn(rest string, more bool) error {
	whose, rest, moreThanWhose := strings.Cut(rest, "/")
	name, subtopic, _ := strings.Cut(rest, "/")
	anyName := name == "+" || name == "#"
	switch {
	case more && whose == "#":
		return nil
	case !moreThanWhose:
		return fmt.Errorf("can match nothing, since a topic under %s has at least three levels: add levels, or end it with /#", ownLevel)
	case (whose == "device" || whose == "+") && (anyName || standardName(name)),
		whose == "registry" && (anyName || name == Commands || name == Config):
		return validateSubtopic(subtopic)
	case whose == "monitoring":
		return validateMonitoring(ownLevel+"/monitoring", rest)
	case whose == "device", whose == "+":
		return fmt.Errorf("can match nothing, since after %s/device comes events, state, commands or config, and not %q", ownLevel, name)
	case whose == "registry":
		return fmt.Errorf("can match nothing, since after %s/registry comes commands or config, and not %q", ownLevel, name)
	default:
		return fmt.Errorf("can match nothing, since after %s comes device, registry or monitoring, and not %q", ownLevel, whose)
	}
}

func validateMonitoring(before, name string) error {
	switch name {
	case monitoringName, "+", "#", monitoringName + "/#", "+/#":
		return nil
	}
	return fmt.Errorf("can match nothing, since after %s comes %s, and no more", before, monitoringName)
}

// validateSubtopic refuses a filter that is longer than any subtopic. A + may stand for an empty level, and a # at the end
// for no level at all, with its slash.
func validateSubtopic(filter string) error {
	levels := strings.Split(strings.TrimSuffix(strings.TrimSuffix(filter, "#"), "/"), "/")
	n := len(levels) - 1
	for _, level := range levels {
		if level != "+" {
			n += utf8.RuneCountInString(level)
		}
	}
	if n > maxSubtopicChars {
		return fmt.Errorf("can match nothing, since a subtopic has at most %d characters, and this asks for %d", maxSubtopicChars, n)
	}
	return nil
}

// quote shows what is wrong in an error: what is overlong by its beginning, since the reader needs to recognise it, not
// read it.
func quote(text string) string {
	const shown = 128
	if len(text) <= shown {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("%q…", strings.ToValidUTF8(text[:shown], ""))
}
