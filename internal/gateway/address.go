package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

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
