// Package guard keeps web pages and strangers away from the HTTP APIs of a process.
//
// A page in a browser on the same machine reaches 127.0.0.1 like any program. So requests of foreign pages are refused, and
// so are requests to foreign host names where no caller has to say who they are.
package guard

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Guard looks at requests to one address.
type Guard struct {
	local   bool // only this machine reaches it, and nobody is asked who they are
	origins *http.CrossOriginProtection
}

// New returns the guard of an address, host:port. Where callers are named, by a password or a token, any host name does.
func New(address string, named bool) *Guard {
	return &Guard{local: Loopback(address) && !named, origins: http.NewCrossOriginProtection()}
}

// Trust lets pages of an origin in, such as https://example.com.
func (g *Guard) Trust(origin string) error { return g.origins.AddTrustedOrigin(origin) }

// Check returns the status that refuses a request, and why; 0 lets it pass.
func (g *Guard) Check(r *http.Request) (status int, reason string) {
	// The library takes GET for harmless. Here nothing is for other pages, so all
	// methods are asked the same.
	asked := *r
	asked.Method = http.MethodPost
	if g.origins.Check(&asked) != nil {
		return http.StatusForbidden, fmt.Sprintf("a page of %s may not call this API: its origin is foreign", from(r))
	}
	// A foreign name for a local address is how DNS rebinding looks: the browser
	// takes the page for one of the same origin. Browsers always send Host.
	if g.local && r.Host != "" && !loopbackHost(hostOf(r.Host)) {
		return http.StatusMisdirectedRequest, fmt.Sprintf("host %q is foreign: call this API as localhost or 127.0.0.1", r.Host)
	}
	return 0, ""
}

// Loopback reports whether only this machine reaches an address, host:port.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && loopbackHost(host)
}

func loopbackHost(host string) bool {
	host = strings.ToLower(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

func from(r *http.Request) string {
	if origin := r.Header.Get("Origin"); origin != "" {
		return fmt.Sprintf("%q", origin)
	}
	return "another site"
}

func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return hostport
}
