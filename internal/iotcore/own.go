package iotcore

import "strings"

// IsOwn reports whether a topic or filter begins with $me, by which a device speaks of itself without its ID.
func IsOwn(topic string) bool {
	return topic == ownLevel || strings.HasPrefix(topic, ownLevel+"/")
}

// ExpandOwn gives the topic that a $me topic stands for when the device deviceID of the registry registryID uses it:
// $me/device/events is $devices/<device>/events, $me/registry/commands is $registries/<registry>/commands and
// $me/monitoring/json is $monitoring/<device>/json. It returns "" for a $me topic that there is not.
func ExpandOwn(topic, registryID, deviceID string) string {
	whose, rest, _ := strings.Cut(strings.TrimPrefix(topic, ownLevel+"/"), "/")
	name, _, _ := strings.Cut(rest, "/")
	switch {
	case !IsOwn(topic):
		return ""
	case whose == "device" && standardName(name):
		return devicesLevel + "/" + deviceID + "/" + rest
	case whose == "registry" && (name == Commands || name == Config):
		return registriesLevel + "/" + registryID + "/" + rest
	case whose == "monitoring" && rest == monitoringName:
		return MonitoringTopicOf(deviceID)
	}
	return ""
}

// OwnName is the reverse of ExpandOwn: the $me topic by which the devices concerned know a topic, and "" where there is
// none. A device topic and a monitoring topic concern their device, a registry topic all devices of the registry.
func OwnName(topic string) string {
	t := ParseTopic(topic)
	if !t.Standard() {
		return ""
	}
	_, rest, _ := strings.Cut(topic, "/")
	_, rest, _ = strings.Cut(rest, "/")
	switch {
	case t.Kind == DeviceTopic:
		return ownLevel + "/device/" + rest
	case t.Kind == RegistryTopic && !t.FromDevice():
		return ownLevel + "/registry/" + rest
	case t.Kind == MonitoringTopic:
		return ownLevel + "/monitoring/" + rest
	}
	return ""
}
