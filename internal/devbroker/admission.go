package devbroker

import (
	"net"
	"net/netip"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// admission keeps connections and sessions within their limits. A place belongs to a client ID, not to a connection: who has
// one may always come back, and take over its own connection.
type admission struct {
	limits  Limits
	clients *mqtt.Clients // those that have a session

	mu     sync.Mutex
	places map[string]*place
	perIP  map[netip.Prefix]int
	coming map[string]struct{} // client IDs that are about to have a session
}

type place struct {
	connections int
	ip          netip.Prefix
}

func newAdmission(l Limits, clients *mqtt.Clients) *admission {
	return &admission{limits: l, clients: clients, places: map[string]*place{}, perIP: map[netip.Prefix]int{}, coming: map[string]struct{}{}}
}

// enter takes a place for a connection of a client, or tells why there is none. It returns what gives it back. The process's own
// streams get one always: without them, the others publish in vain.
func (a *admission) enter(id string, from net.Addr, own bool) (leave func(), err error) {
	if a.limits.Connections == 0 && a.limits.ConnectionsPerIP == 0 && a.limits.Sessions == 0 {
		return func() {}, nil
	}
	ip := network(from)
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.places[id]
	if p == nil && !own {
		if why := a.full(ip); why != nil {
			return nil, why
		}
	}
	if _, there := a.clients.Get(id); !there {
		if a.limits.Sessions > 0 && !own && a.sessions(id) >= a.limits.Sessions {
			return nil, refuseBy(bySessions, packets.ErrQuotaExceeded, "the broker has all the sessions that it may have")
		}
		a.coming[id] = struct{}{}
	}
	if p == nil {
		p = &place{ip: ip}
		a.places[id] = p
	} else {
		a.count(p.ip, -1)
	}
	p.ip = ip
	p.connections++
	a.count(ip, 1)
	return func() { a.leave(id, p) }, nil
}

// full tells why there is no place from an address. The caller must hold mu.
func (a *admission) full(ip netip.Prefix) error {
	switch {
	case a.limits.Connections > 0 && len(a.places) >= a.limits.Connections:
		return refuseBy(byConnections, packets.ErrQuotaExceeded, "the broker has all the connections that it may have")
	case a.limits.ConnectionsPerIP > 0 && a.perIP[ip] >= a.limits.ConnectionsPerIP:
		return refuseBy(byConnectionsPerIP, packets.ErrQuotaExceeded, "too many connections from this address")
	}
	return nil
}

// sessions is how many there are and will be beside that of a client. The caller must hold mu.
func (a *admission) sessions(but string) int {
	n := a.clients.Len()
	for id := range a.coming {
		if _, there := a.clients.Get(id); !there && id != but {
			n++
		}
	}
	return n
}

// arrived notes that a client has its session.
func (a *admission) arrived(id string) {
	if a.limits.Sessions == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.coming, id)
}

func (a *admission) leave(id string, p *place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.connections--; p.connections == 0 {
		delete(a.places, id)
		delete(a.coming, id)
		a.count(p.ip, -1)
	}
}

// count changes how many clients an address has. The caller must hold mu.
func (a *admission) count(ip netip.Prefix, by int) {
	if a.perIP[ip] += by; a.perIP[ip] == 0 {
		delete(a.perIP, ip)
	}
}
