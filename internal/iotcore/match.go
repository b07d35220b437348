package iotcore

import "strings"

// Match reports whether filter covers topic, by the rules of MQTT 3.1.1 section 4.7. Both are taken to be valid; an empty
// one matches nothing [MQTT-4.7.3-1]. A shared subscription is matched by the filter within, not by $share/<group>/….
func Match(filter, topic string) bool {
	if filter == "" || topic == "" {
		return false
	}
	// A wildcard in the first level does not cover topics that begin with $ [MQTT-4.7.2-1].
	if topic[0] == '$' && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	for {
		want, filterRest, filterMore := strings.Cut(filter, "/")
		if want == "#" && !filterMore {
			return true
		}
		got, topicRest, topicMore := strings.Cut(topic, "/")
		if want != "+" && want != got {
			return false
		}
		if !filterMore {
			return !topicMore
		}
		if !topicMore {
			// The multi-level wildcard includes the parent level: a/# covers a (section 4.7.1.2).
			return filterRest == "#"
		}
		filter, topic = filterRest, topicRest
	}
}

// Covers reports whether filter covers every topic that other covers. Both are taken to be valid, and neither to be that of
// a shared subscription. It is false as well where filter covers them only since no topic has some other form.
func Covers(filter, other string) bool {
	if other != "" && other[0] == '$' && filter != "" && (filter[0] == '+' || filter[0] == '#') {
		return false // [MQTT-4.7.2-1]
	}
	for {
		want, filterRest, filterMore := strings.Cut(filter, "/")
		if want == "#" && !filterMore {
			return true
		}
		got, otherRest, otherMore := strings.Cut(other, "/")
		if got == "#" || want != "+" && want != got {
			return false
		}
		switch {
		case !filterMore:
			return !otherMore
		case !otherMore:
			return filterRest == "#"
		}
		filter, other = filterRest, otherRest
	}
}

// Overlap reports whether there can be a topic that both filters cover. Both are taken to be valid, and neither to be that
// of a shared subscription.
func Overlap(one, other string) bool {
	if one == "" || other == "" {
		return false
	}
	if wild(one) && other[0] == '$' || wild(other) && one[0] == '$' {
		return false // [MQTT-4.7.2-1]
	}
	for {
		a, oneRest, oneMore := strings.Cut(one, "/")
		b, otherRest, otherMore := strings.Cut(other, "/")
		switch {
		case a == "#" || b == "#":
			return true
		case a != b && a != "+" && b != "+":
			return false
		case !oneMore:
			return !otherMore || otherRest == "#"
		case !otherMore:
			return oneRest == "#"
		}
		one, other = oneRest, otherRest
	}
}

// wild reports whether a filter begins with a wildcard.
func wild(filter string) bool { return filter[0] == '+' || filter[0] == '#' }
