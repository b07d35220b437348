package gateway

import (
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
	perIP map[netip.Prefix]int
}

func newAdmission(limits Admission) *admission {
	a := &admission{limits: limits, perIP: make(map[netip.Prefix]int)}
	if limits.HandshakeRate > 0 {
		a.rate = rate.NewLimiter(rate.Limit(limits.HandshakeRate), limits.HandshakeRate)
	}
	return a
}

// enter takes a place on the route for a connection from ip, or says why there
// is none. Who has entered must leave.
func (a *admission) enter(r *Route, ip netip.Addr) *refusal {
	from := network(ip)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.rate != nil && !a.rate.Allow():
		return &refusal{http.StatusTooManyRequests, "handshake_rate", "too many handshakes, try again in a moment"}
	case a.limits.MaxConnections > 0 && a.all >= a.limits.MaxConnections:
		return &refusal{http.StatusServiceUnavailable, "max_connections", "the gateway has all the connections that it may have"}
	case r.MaxConnections > 0 && r.places >= r.MaxConnections:
		return &refusal{http.StatusServiceUnavailable, "route_max_connections", "the path has all the connections that it may have"}
	case a.limits.MaxConnectionsPerIP > 0 && a.perIP[from] >= a.limits.MaxConnectionsPerIP:
		return &refusal{http.StatusTooManyRequests, "max_connections_per_ip", "too many connections from your address"}
	}
	a.all++
	r.places++
	a.perIP[from]++
	return nil
}

func (a *admission) leave(r *Route, ip netip.Addr) {
	from := network(ip)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	r.places--
	if a.perIP[from]--; a.perIP[from] == 0 {
		delete(a.perIP, from)
	}
}

// sourceIP is where a request comes from: the peer, or, where that is a trusted
// proxy, the last address in X-Forwarded-For that is none.
func sourceIP(req *http.Request, trusted []netip.Prefix) netip.Addr {
	ip, ok := address(req.RemoteAddr)
	if !ok {
		return netip.Addr{}
	}
	isProxy := func(ip netip.Addr) bool {
		return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	if !isProxy(ip) {
		return ip
	}
	hops := strings.Split(strings.Join(req.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		before, ok := address(strings.TrimSpace(hop))
		if !ok {
			break // as "unknown"; and what stands further left nobody vouches for
		}
		if ip = before; !isProxy(ip) {
			break
		}
	}
	return ip
}

// address reads an IP address in any of the forms in which proxies write them: with
// a port or without, an IPv6 address in brackets or bare.
func address(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return plain(ap.Addr()), true
	}
	if bare, ok := strings.CutPrefix(s, "["); ok {
		s = strings.TrimSuffix(bare, "]")
	}
	ip, err := netip.ParseAddr(s)
	return plain(ip), err == nil
}

// plain is the one form of an address.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// network is what counts as one client: an IPv4 address, or the /64 network of an
// IPv6 address, since anyone who has one of its addresses has them all.
func network(ip netip.Addr) netip.Prefix {
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // no address is a network, too
	return p
}
