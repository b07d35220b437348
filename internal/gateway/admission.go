package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"golang.org/x/time/rate"
)

// admission keeps a gateway within its limits, at the price of a map access a
// handshake.
type admission struct {
	limits Admission
	rate   *rate.Limiter

	mu    sync.Mutex
	all   int // connections, with those whose handshake is under way
	perIP map[netip.Addr]int
}

func newAdmission(limits Admission) *admission {
	a := &admission{limits: limits, perIP: make(map[netip.Addr]int)}
	if limits.HandshakeRate > 0 {
		a.rate = rate.NewLimiter(rate.Limit(limits.HandshakeRate), limits.HandshakeRate)
	}
	return a
}

// enter takes a place on the route for a connection from ip, or says why there
// is none. Who has entered must leave.
func (a *admission) enter(r *Route, ip netip.Addr) *refusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.rate != nil && !a.rate.Allow():
		return &refusal{http.StatusTooManyRequests, "handshake_rate", "too many handshakes, try again in a moment"}
	case a.limits.MaxConnections > 0 && a.all >= a.limits.MaxConnections:
		return &refusal{http.StatusServiceUnavailable, "max_connections", "the gateway has all the connections that it may have"}
	case r.MaxConnections > 0 && r.places >= r.MaxConnections:
		return &refusal{http.StatusServiceUnavailable, "route_max_connections", "the path has all the connections that it may have"}
	case a.limits.MaxConnectionsPerIP > 0 && a.perIP[ip] >= a.limits.MaxConnectionsPerIP:
		return &refusal{http.StatusTooManyRequests, "max_connections_per_ip", "too many connections from your address"}
	}
	a.all++
	r.places++
	a.perIP[ip]++
	return nil
}

func (a *admission) leave(r *Route, ip netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	r.places--
	if a.perIP[ip]--; a.perIP[ip] == 0 {
		delete(a.perIP, ip)
	}
}

// sourceIP is where a request comes from: the peer, or, where that is a trusted
// proxy, the last address in X-Forwarded-For that is none.
func sourceIP(req *http.Request, trusted []netip.Prefix) netip.Addr {
	host, _, err := net.SplitHostPort(req.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	ip = ip.Unmap().WithZone("")
	isProxy := func(ip netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	if !isProxy(ip) {
		return ip
	}
	hops := strings.Split(strings.Join(req.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		before, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break // what stands further left nobody vouches for
		}
		ip = before.Unmap().WithZone("")
		if !isProxy(ip) {
			break
		}
	}
	return ip
}
