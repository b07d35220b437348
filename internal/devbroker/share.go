package devbroker

import (
	"math/rand/v2"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// share adds one subscriber of each shared subscription to those that a message goes to (MQTT 5.0, 4.8.2): any of those who are
// connected alike, and only without such any of the sessions. mochi v2.7.9 would take the first of a map, which is mostly the
// same one, connected or not.
func (h *hook) share(s *mqtt.Subscribers) {
	for _, members := range s.Shared {
		var chosen string
		connected, others := 0, 0
		for id := range members {
			if cl, ok := h.server.Clients.Get(id); ok && cl.Net.Conn != nil && !cl.Closed() {
				if connected++; rand.IntN(connected) == 0 {
					chosen = id
				}
			} else if others++; connected == 0 && rand.IntN(others) == 0 {
				chosen = id
			}
		}
		s.Subscriptions[chosen] = merged(s.Subscriptions, chosen, members[chosen])
	}
}

// merged is a subscription with what the same client subscribes to besides: it gets a message once.
func merged(all map[string]packets.Subscription, id string, sub packets.Subscription) packets.Subscription {
	if own, ok := all[id]; ok {
		return own.Merge(sub)
	}
	return sub.Merge(sub)
}
