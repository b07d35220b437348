package devbroker

import (
	"math/rand/v2"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// share adds one subscriber of each shared subscription to those that a message goes to (MQTT 5.0, 4.8.2): any of those who are
// connected alike, and only without such any of the sessions. mochi v2.7.9 would take the first of a map, which is mostly the
// same one, connected or not.
func (h *hook) share(s *mqtt.Subscribers) {
	for _, members := range s.Shared {
		var chosen string
		there, away := 0, 0
		for id := range members {
			if cl, ok := h.server.Clients.Get(id); ok && connected(cl) {
				if there++; rand.IntN(there) == 0 {
					chosen = id
				}
			} else if away++; there == 0 && rand.IntN(away) == 0 {
				chosen = id
			}
		}
		sub := members[chosen]
		own, ok := s.Subscriptions[chosen] // by which it would get the message besides
		if !ok {
			own = sub
		}
		s.Subscriptions[chosen] = own.Merge(sub)
	}
}
