package control

import (
	"context"
	"net/http"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/overview"
)

// withConsole serves the console at /, before anybody is asked who they are: it is the same for everyone.
func withConsole(next, page http.Handler) http.Handler {
	if page == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			page.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// accountMethod is what tells callers who they are: it takes no role.
const accountMethod = "/iotcast.ConsoleService/GetAccount"

// consoleRoutes are what the console needs beside the services.
func consoleRoutes(k *keeper, cfg Config) []plainRoute {
	s := consoleService{tokens: cfg.Verifier != nil, grants: cfg.Grants, lookers: make(chan struct{}, maxLookers)}
	if k != nil {
		s.overview = &k.overview
	}
	return []plainRoute{
		plainRouteTo(http.MethodGet, "/console/account", false, accountMethod, s.account),
		plainRouteTo(http.MethodGet, "/console/overview", false, overviewMethod, s.getOverview),
	}
}

type consoleService struct {
	tokens   bool
	grants   access.Grants
	overview **overview.Overview // which is there after the routes
	lookers  chan struct{}       // one in it for each that follows the overview
}

// account tells the caller who they are, and what they may.
func (s consoleService) account(ctx context.Context, w http.ResponseWriter, _ *http.Request) error {
	answer := struct {
		Account    string              `json:"account"`              // empty: the caller is of this machine
		Tokens     bool                `json:"tokens"`               // or else everybody may do all
		Roles      []string            `json:"roles"`                // that hold on everything, with those that come with them
		Restricted map[string][]string `json:"restricted,omitempty"` // the resources on which others hold, by role
	}{callOf(ctx).account, s.tokens, []string{}, map[string][]string{}}
	if s.tokens {
		answer.Roles, answer.Restricted = s.grants.Of(answer.Account)
	}
	return answerJSON(w, answer)
}
