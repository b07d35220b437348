package gateway

import (
	"net/http"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// admission keeps a gateway within its limits. It costs a handshake one map access.
type admission struct {
	mu     sync.Mutex // guards the rest, and the places of all routes
	limits Admission
	rate   *rate.Limiter // nil: no limit

	all   int                  // connections, with those whose handshake is under way
	perIP map[netip.Prefix]int // the same, by network
}

func newAdmission() *admission { return &admission{perIP: make(map[netip.Prefix]int)} }

// bound sets other limits. Connections that are open stay, even if they are more than
// there may be.
func (a *admission) bound(limits Admission) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if limits.HandshakeRate != a.limits.HandshakeRate {
		a.rate = nil
		if limits.HandshakeRate > 0 {
			a.rate = rate.NewLimiter(rate.Limit(limits.HandshakeRate), limits.HandshakeRate)
		}
	}
	a.limits = limits
}

// boundPlaces sets how many places a route has; 0: no limit.
func (a *admission) boundPlaces(p *places, most int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.most = most
}

// places are how many connections a route may have, and how many it has. They are guarded
// by admission.mu.
type places struct {
	most  int // zero: no limit
	taken int // with those whose handshake is under way
}

// count returns how many connections a gateway has, and how many it may have; 0: no limit.
func (a *admission) count() (taken, most int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all, a.limits.MaxConnections
}

// countOf returns the same of a route.
func (a *admission) countOf(p *places) (taken, most int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return p.taken, p.most
}

// refusal is why a request gets no connection.
type refusal struct {
	status int    // of HTTP
	reason string // from a fixed set, for metrics
	text   string // for the client; empty: it has been answered
}

// enter takes a place on a route for a connection from ip, or returns why there is none.
// The place must be given back by leave.
func (a *admission) enter(p *places, ip netip.Addr) *refusal {
	from := network(ip)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.rate != nil && !a.rate.Allow():
		return &refusal{http.StatusTooManyRequests, "handshake_rate", "too many handshakes, try again in a moment"}
	case a.limits.MaxConnections > 0 && a.all >= a.limits.MaxConnections:
		return &refusal{http.StatusServiceUnavailable, "max_connections", "the gateway has all the connections that it may have"}
	case p.most > 0 && p.taken >= p.most:
		return &refusal{http.StatusServiceUnavailable, "route_max_connections", "the path has all the connections that it may have"}
	case a.limits.MaxConnectionsPerIP > 0 && a.perIP[from] >= a.limits.MaxConnectionsPerIP:
		return &refusal{http.StatusTooManyRequests, "max_connections_per_ip", "too many connections from your address"}
	}
	a.all++
	p.taken++
	a.perIP[from]++
	return nil
}

// leave gives back a place that enter has taken.
func (a *admission) leave(p *places, ip netip.Addr) {
	from := network(ip)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	p.taken--
	if a.perIP[from]--; a.perIP[from] == 0 {
		delete(a.perIP, from)
	}
}
