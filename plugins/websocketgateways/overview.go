package websocketgateways

import "github.com/iotcast/iotcast/internal/overview"

// Overview is what there is now, and how much of it is used.
func (g *Gateways) Overview() map[string]overview.Gateway {
	all := map[string]overview.Gateway{}
	for _, one := range g.set.All() {
		facts := overview.Gateway{Routes: map[string]overview.RouteFacts{}}
		facts.Connections, facts.MaxConnections = one.Places()
		if err := one.Err(); err != nil {
			facts.Failed = err.Error()
		} else if !one.Accepts() {
			facts.Failed = "The process has no file descriptor or memory left for another connection."
		}
		for path, route := range one.Routes() {
			r := overview.RouteFacts{QueueBytes: route.MessageBytes(), Keeps: route.Keeps()}
			r.Connections, r.MaxConnections = route.Places()
			facts.Routes[path] = r
		}
		all[one.Label()] = facts
	}
	return all
}
