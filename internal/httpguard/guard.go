// Package httpguard stands before the HTTP API of Benthos, and decides who may
// call it and what a stream that comes over it may contain.
//
// A page in a browser on the same machine reaches 127.0.0.1 like any program.
// So requests of foreign pages and to foreign host names are refused, and
// credentials are asked for wherever the address can be reached from elsewhere.
package httpguard

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Config says who may call the API, and what for.
type Config struct {
	Address  string // host:port of the listener
	RootPath string // a second prefix of all paths, as in http.root_path

	Username, Password string   // empty: whoever reaches the address may call
	OpenPaths          []string // need no credentials, such as /ping
	TrustedOrigins     []string // of pages that may call, such as https://example.com

	Ready func() error // why /ready answers 503 whatever the streams are; nil: it does not

	// AllowComponents are the names of components and Bloblang functions that reach
	// out of the process, and that streams may have although they come over HTTP.
	AllowComponents []string
	// AllowVariables are the environment variables that such streams may use.
	AllowVariables []string
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

type guard struct {
	cfg     Config
	local   bool
	origins *http.CrossOriginProtection
	next    http.Handler
	log     *slog.Logger
}

// New returns the guard before the API that next serves.
func New(cfg Config, next http.Handler, log *slog.Logger) (http.Handler, error) {
	if (cfg.Username == "") != (cfg.Password == "") {
		return nil, errors.New("username and password belong together: set both or neither")
	}
	g := &guard{cfg: cfg, local: Loopback(cfg.Address), origins: http.NewCrossOriginProtection(), next: newStreams(cfg, next), log: log}
	for _, origin := range cfg.TrustedOrigins {
		if err := g.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("cors: %w", err)
		}
	}
	return g, nil
}

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status, reason := g.check(r); status != 0 {
		g.log.Warn("Request to the HTTP API refused", "method", r.Method, "path", r.URL.Path, "remote_address", r.RemoteAddr, "reason", reason)
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="iotcast", charset="UTF-8"`)
		}
		http.Error(w, reason, status)
		return
	}
	g.next.ServeHTTP(w, r)
}

// check returns the status that refuses a request, and why; 0 lets it pass.
func (g *guard) check(r *http.Request) (status int, reason string) {
	// The library takes GET for harmless. Here nothing is for other pages, so all
	// methods are asked the same.
	asked := *r
	asked.Method = http.MethodPost
	if g.origins.Check(&asked) != nil {
		return http.StatusForbidden, fmt.Sprintf("a page of %s may not call this API: its origin is foreign; see http.cors", from(r))
	}
	if g.cfg.Username != "" {
		if !g.open(r.URL.Path) && !g.authenticated(r) {
			return http.StatusUnauthorized, "user name and password are needed, those of http_guard"
		}
		r.Header.Del("Authorization") // an endpoint of a stream need not see it
		return 0, ""
	}
	// A foreign name for a local address is how DNS rebinding looks: the browser
	// takes the page for one of the same origin. Browsers always send Host.
	if g.local && r.Host != "" && !loopbackHost(hostOf(r.Host)) {
		return http.StatusMisdirectedRequest, fmt.Sprintf("host %q is foreign: call this API as localhost or 127.0.0.1, or set username and password of http_guard", r.Host)
	}
	return 0, ""
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

func (g *guard) open(path string) bool {
	inner, below := strings.CutPrefix(path, g.cfg.RootPath)
	return slices.Contains(g.cfg.OpenPaths, path) || below && slices.Contains(g.cfg.OpenPaths, inner)
}

// authenticated takes as long for a wrong name as for a wrong password. The header may
// stand once (RFC 9110, section 5.3).
func (g *guard) authenticated(r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	return len(r.Header.Values("Authorization")) == 1 && equal(user, g.cfg.Username)&equal(password, g.cfg.Password) == 1
}

func equal(got, want string) int {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:])
}
