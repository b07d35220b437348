// Package httpguard stands before the HTTP API of Benthos, and decides who may
// call it and what a stream that comes over it may contain.
//
// Credentials are asked for wherever the address can be reached from elsewhere.
package httpguard

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/guard"
	"github.com/iotcast/iotcast/internal/token"
)

// Config says who may call the API, and what for.
type Config struct {
	Address  string // host:port of the listener
	RootPath string // a second prefix of all paths, as in http.root_path

	Username, Password string          // empty: they are not asked for
	Verifier           *token.Verifier // of the tokens of callers, instead of a password; nil: there are none
	Grants             access.Grants   // what callers with a token may do
	OpenPaths          []string        // need no credentials, such as /ping
	TrustedOrigins     []string        // of pages that may call, such as https://example.com

	Ready func() error // why /ready answers 503 whatever the streams are; nil: it does not
	// IsTrigger reports whether a stream is made by the management API, which /ready does not wait for; nil: none is.
	IsTrigger func(id string) bool

	// AllowComponents are the names of components and Bloblang functions that reach
	// out of the process, and that streams may have although they come over HTTP.
	AllowComponents []string
	// AllowVariables are the environment variables that such streams may use.
	AllowVariables []string
}

type apiGuard struct {
	cfg   Config
	pages *guard.Guard
	next  http.Handler
	log   *slog.Logger
}

// New returns the guard before the API that next serves.
func New(cfg Config, next http.Handler, log *slog.Logger) (http.Handler, error) {
	if (cfg.Username == "") != (cfg.Password == "") {
		return nil, errors.New("username and password belong together: set both or neither")
	}
	g := &apiGuard{
		cfg: cfg, pages: guard.New(cfg.Address, cfg.Username != "" || cfg.Verifier != nil),
		next: newStreams(cfg, next), log: log,
	}
	for _, origin := range cfg.TrustedOrigins {
		if err := g.pages.Trust(origin); err != nil {
			return nil, fmt.Errorf("cors: %w", err)
		}
	}
	return g, nil
}

// ServeHTTP implements http.Handler.
func (g *apiGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	account, status, reason := g.check(r)
	if status != 0 {
		g.log.Warn("Request to the HTTP API refused", "method", r.Method, "path", r.URL.Path, "remote_address", r.RemoteAddr,
			"service_account_id", account, "reason", reason)
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", g.challenge())
		}
		http.Error(w, reason, status)
		return
	}
	if account != "" && !reads(r) { // the audit log, as of the management API
		g.log.Info("Request to the HTTP API", "method", r.Method, "path", r.URL.Path, "remote_address", r.RemoteAddr, "service_account_id", account)
	}
	g.next.ServeHTTP(w, r)
}

// challenge says how callers may say who they are (RFC 9110, section 11.6.1).
func (g *apiGuard) challenge() string {
	if g.cfg.Username == "" {
		return "Bearer" // RFC 6750, section 3
	}
	return `Basic realm="iotcast", charset="UTF-8"`
}

// check returns the service account that makes a request, if tokens tell, and the status that refuses it, and why; 0 lets it
// pass.
func (g *apiGuard) check(r *http.Request) (account string, status int, reason string) {
	if status, reason := g.pages.Check(r); status != 0 {
		switch status {
		case http.StatusForbidden:
			reason += "; see http.cors"
		case http.StatusMisdirectedRequest:
			reason += ", or set username and password of http_guard"
		}
		return "", status, reason
	}
	if g.cfg.Username == "" && g.cfg.Verifier == nil {
		return "", 0, ""
	}
	// An endpoint of a stream need not see it.
	defer r.Header.Del("Authorization")
	if g.open(r.URL.Path) || g.cfg.Username != "" && g.authenticated(r) {
		return "", 0, ""
	}
	if g.cfg.Verifier == nil {
		return "", http.StatusUnauthorized, "user name and password are needed, those of http_guard"
	}
	account, err, cause := guard.Account(r.Context(), g.cfg.Verifier, r.Header)
	switch need := needed(r); {
	case errors.Is(err, guard.ErrUnavailable):
		g.log.Warn("A token cannot be verified", "error", cause)
		return "", http.StatusServiceUnavailable, err.Error()
	case err != nil:
		return "", http.StatusUnauthorized, err.Error()
	case !g.cfg.Grants.Allow(account, need):
		return account, http.StatusForbidden, fmt.Sprintf("service account %q lacks the role %s: add it to management_api.access_bindings", account, need)
	}
	return account, 0, ""
}

// needed is the role that a request takes. Whoever makes streams can do what iotcast may, so it takes all of them.
func needed(r *http.Request) string {
	if reads(r) {
		return access.ViewerOfAll
	}
	return access.AdminOfAll
}

func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

func (g *apiGuard) open(path string) bool {
	inner, below := strings.CutPrefix(path, g.cfg.RootPath)
	return slices.Contains(g.cfg.OpenPaths, path) || below && slices.Contains(g.cfg.OpenPaths, inner)
}

// authenticated takes as long for a wrong name as for a wrong password. The header may
// stand once (RFC 9110, section 5.3).
func (g *apiGuard) authenticated(r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	return len(r.Header.Values("Authorization")) == 1 && equal(user, g.cfg.Username)&equal(password, g.cfg.Password) == 1
}

func equal(got, want string) int {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:])
}
