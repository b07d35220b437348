package iotmqtt

import (
	"slices"
	"strings"
	"sync"

	"github.com/iotcast/iotcast/internal/iotcore"
	"github.com/iotcast/iotcast/internal/mqttclient"
)

// needed divides filters into those to subscribe to and those that another covers.
// Some brokers send a message once for each filter that covers it, as MQTT 3.1.1
// lets them (section 3.3.5).
func needed(filters []string) (needed, covered []string) {
	covers := func(f, g string) bool {
		shared := strings.HasPrefix(f, sharePrefix) || strings.HasPrefix(g, sharePrefix)
		return !shared && iotcore.Covers(iotcore.RegistryFilter(f), g)
	}
	for i, f := range filters {
		if slices.Contains(filters[:i], f) {
			continue
		}
		if slices.ContainsFunc(filters, func(g string) bool { return g != f && covers(g, f) }) {
			covered = append(covered, f)
		} else {
			needed = append(needed, f)
		}
	}
	return needed, covered
}

// unshared is the filter within a shared subscription, and any other as it is.
func unshared(filter string) string {
	if rest, ok := strings.CutPrefix(filter, sharePrefix); ok {
		_, filter, _ = strings.Cut(rest, "/")
	}
	return filter
}

// match reports whether one of filters, shared or not, covers topic.
func match(filters []string, topic string) bool {
	for _, f := range filters {
		if iotcore.Match(unshared(f), topic) {
			return true
		}
	}
	return false
}

// subscriptions are what the persistent sessions of this process are subscribed to,
// by broker and client: they outlive the input, when its stream is updated.
type subscriptions struct {
	mu sync.Mutex
	of map[string][]string
}

var subscribed = subscriptions{of: make(map[string][]string)}

// swap notes the filters of a session, and returns those that it had.
func (s *subscriptions) swap(c mqttclient.Config) (had []string) {
	key := mqttclient.Redacted(c.URLs[0]) + " " + c.ClientID
	s.mu.Lock()
	defer s.mu.Unlock()
	had = s.of[key]
	s.of[key] = c.Filters
	return had
}
