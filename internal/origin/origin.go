// Package origin holds web pages to the origins (RFC 6454) from which they may
// open connections: browsers leave that to the server (RFC 6455, section 10.2).
package origin

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// Allowed reports whether a request comes from a page that may make it: one of the
// host and port that the request is for, or one that a pattern names. A request
// without an origin comes from no page, since every browser sends one.
//
// A pattern is compared with the host of the origin, without regard to case, or,
// if it holds "://", with scheme and host; `*` in it stands for any characters. It
// may give the port or leave it out where that is the scheme's own, as browsers
// do. The pattern `null` names pages without an origin of their own.
func Allowed(req *http.Request, patterns []string) bool {
	values := req.Header.Values("Origin")
	switch {
	case len(values) == 0, len(values) == 1 && values[0] == "":
		return true
	case len(values) > 1: // no browser sends two, and one of them must be wrong
		return false
	}
	from, err := parse(values[0])
	if err != nil {
		return false
	}
	if from.isHostOf(req) {
		return true
	}
	for _, pattern := range patterns {
		if from.matches(pattern) {
			return true
		}
	}
	return false
}

// origin is where a page comes from.
type origin struct {
	text   string // as it was sent
	scheme string
	name   string // of the host; empty: the page has no host
	port   string // empty: the scheme has none
}

var ownPorts = map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443"}

func parse(text string) (origin, error) {
	u, err := url.Parse(text)
	if err != nil {
		return origin{}, err
	}
	o := origin{text: text, scheme: u.Scheme, name: canonical(u.Hostname()), port: u.Port()}
	if o.port == "" {
		o.port = ownPorts[o.scheme]
	}
	return o, nil
}

// canonical is the one spelling of a host.
func canonical(name string) string {
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.String()
	}
	return strings.TrimSuffix(strings.ToLower(name), ".")
}

// isHostOf reports whether the request is for the host from which the page comes.
// A request over TLS is not for the host of a page that came without: who sits on
// the network can write such a page. A request without TLS may be either's, since
// a proxy may have ended TLS. The Host header may leave out the scheme's port.
func (o origin) isHostOf(req *http.Request) bool {
	own, known := ownPorts[o.scheme]
	if !known || req.TLS != nil && own != ownPorts["https"] {
		return false
	}
	host := url.URL{Host: req.Host}
	return o.name != "" && o.name == canonical(host.Hostname()) && o.port == cmp.Or(host.Port(), own)
}

func (o origin) matches(pattern string) bool {
	if o.name == "" {
		return pattern == "*" || glob(pattern, o.text)
	}
	host, scheme := o.name, ""
	if strings.Contains(host, ":") {
		host = "[" + host + "]" // an IPv6 address
	}
	if strings.Contains(pattern, "://") {
		scheme = o.scheme + "://"
	}
	return o.port != "" && glob(pattern, scheme+host+":"+o.port) ||
		o.port == ownPorts[o.scheme] && glob(pattern, scheme+host)
}

// glob is path.Match without its classes, whose brackets are those of IPv6
// addresses here.
func glob(pattern, text string) bool {
	ok, _ := path.Match(strings.ReplaceAll(strings.ToLower(pattern), "[", `\[`), strings.ToLower(text))
	return ok
}

const hint = "write a host, such as dashboard.example.com, *.example.com or localhost:*, or a scheme and a host, such as https://example.com, without a path, and each in an entry of its own"

// pattern is what can match an origin. Nothing matches none.
var pattern = regexp.MustCompile(`^([A-Za-z*][A-Za-z0-9+.*-]*://)?[^/\\,\s]*$`)

// LintRule is Check in Bloblang, for each entry of a list of patterns.
var LintRule = `root = if this.type() == "string" && !this.re_match(` + strconv.Quote(pattern.String()) + `) { [ "no page can come from \"%s\": ` + hint + `".format(this) ] }`

// Check tells what is wrong with patterns.
func Check(patterns []string) error {
	for _, p := range patterns {
		if !pattern.MatchString(p) {
			return fmt.Errorf("no page can come from %q: %s", p, hint)
		}
	}
	return nil
}
