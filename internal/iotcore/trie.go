package iotcore

import (
	"slices"
	"strings"
)

// Trie finds which of many topic filters cover a topic, by the rules of [Match], in a time that does not depend on how many
// filters there are. Each filter has values; the zero Trie is empty. It is not safe for concurrent use.
type Trie[T comparable] struct{ root level[T] }

// level is what all filters have in common that begin with the same levels.
type level[T comparable] struct {
	below map[string]*level[T]
	here  []T // of filters that end here
	under []T // of filters that end with # below: they cover this level, too (MQTT 3.1.1, section 4.7.1.2)
}

// Add gives a valid filter a value.
func (t *Trie[T]) Add(filter string, value T) {
	l := &t.root
	for name, rest, more := strings.Cut(filter, "/"); ; name, rest, more = strings.Cut(rest, "/") {
		if name == "#" {
			l.under = append(l.under, value)
			return
		}
		next := l.below[name]
		if next == nil {
			next = new(level[T])
			if l.below == nil {
				l.below = make(map[string]*level[T])
			}
			l.below[name] = next
		}
		if l = next; !more {
			l.here = append(l.here, value)
			return
		}
	}
}

// Remove takes back one Add of the same filter and value.
func (t *Trie[T]) Remove(filter string, value T) { t.root.remove(filter, true, value) }

// remove reports whether nothing is left of the level.
func (l *level[T]) remove(filter string, more bool, value T) (empty bool) {
	name, rest, moreBelow := strings.Cut(filter, "/")
	switch next := l.below[name]; {
	case !more:
		l.here = without(l.here, value)
	case name == "#":
		l.under = without(l.under, value)
	case next != nil && next.remove(rest, moreBelow, value):
		delete(l.below, name)
	}
	return len(l.here) == 0 && len(l.under) == 0 && len(l.below) == 0
}

func without[T comparable](all []T, value T) []T {
	if i := slices.Index(all, value); i >= 0 {
		return slices.Delete(all, i, i+1)
	}
	return all
}

// Match calls each with the values of the filters that cover a topic, in no order; with a value twice if two of its filters
// do. An empty topic is covered by nothing [MQTT-4.7.3-1].
func (t *Trie[T]) Match(topic string, each func(T)) {
	if topic == "" {
		return
	}
	if topic[0] != '$' {
		t.root.match(topic, true, each)
		return
	}
	// No wildcard in the first level covers topics that begin with $ [MQTT-4.7.2-1].
	name, rest, more := strings.Cut(topic, "/")
	if next := t.root.below[name]; next != nil {
		next.match(rest, more, each)
	}
}

func (l *level[T]) match(topic string, more bool, each func(T)) {
	for _, value := range l.under {
		each(value)
	}
	if !more {
		for _, value := range l.here {
			each(value)
		}
		return
	}
	name, rest, more := strings.Cut(topic, "/")
	if next := l.below[name]; next != nil {
		next.match(rest, more, each)
	}
	if next := l.below["+"]; next != nil && name != "+" {
		next.match(rest, more, each)
	}
}
