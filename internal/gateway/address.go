package gateway

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// sourceIP returns where a request comes from. That is the peer. If the peer is a trusted
// proxy, it is the last address in X-Forwarded-For that is not a trusted proxy.
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
			break // such as "unknown": nobody vouches for what stands further left
		}
		if ip = before; !isProxy(ip) {
			break
		}
	}
	return ip
}

// address reads an IP address in any form in which proxies write one: with a port or
// without, an IPv6 address in brackets or bare.
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

// plain returns an address in the form in which it can be compared: IPv4 is not mapped to
// IPv6, and there is no zone.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// network returns what counts as one client: an IPv4 address, or the /64 network of an
// IPv6 address, since whoever has one address of such a network has them all.
func network(ip netip.Addr) netip.Prefix {
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // of the zero Addr: the zero Prefix
	return p
}
