package connectionapi

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/iotcast/iotcast/internal/access"
	"github.com/iotcast/iotcast/internal/token"
)

// caller is who makes a request.
type caller struct {
	account string // empty where there are no tokens: the caller is of this machine
}

// authenticate finds out who makes the request.
func (a *api) authenticate(req *http.Request) (caller, error) {
	if a.verifier == nil {
		return caller{}, a.fromHere(req)
	}
	raw, _ := token.Bearer(req.Header)
	claims, err := a.verifier.Verify(req.Context(), raw)
	switch {
	case err != nil && token.Reason(err) == "keys_unavailable": // not the caller's fault
		a.log.Warn("A token cannot be verified", "error", err)
		return caller{}, unavailable("tokens cannot be verified now, try again later")
	case err != nil:
		return caller{}, unauthenticated("a valid bearer token is needed: " + token.Reason(err))
	case claims.Subject() == "":
		return caller{}, unauthenticated("the token has no sub claim, which is the ID of the service account")
	}
	return caller{account: claims.Subject()}, nil
}

// fromHere keeps web pages out, which browsers on this machine may have open: they
// cannot read the answers, but could make requests; and by a name of their own for
// this machine, they could read them, too (DNS rebinding).
func (a *api) fromHere(req *http.Request) error {
	host, _, err := net.SplitHostPort(req.Host)
	if err != nil {
		host = strings.Trim(req.Host, "[]")
	}
	if !isLoopback(host) {
		return forbidden("without tokens, requests must be for localhost, not for %.100q", host)
	}
	if err := a.pages.Check(req); err != nil {
		return forbidden("without tokens, web pages of other origins may not make requests")
	}
	return nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// may tells whether the caller has a role on a gateway with these bindings. With no
// bindings, this machine has them all, but whoever has a token has none: a new
// gateway must not be open to everyone for whom tokens are made.
func (a *api) may(c caller, b access.Bindings, need access.Role) bool {
	if a.verifier != nil && b.Len() == 0 {
		return false
	}
	return b.Allows(c.account, need)
}

// authorise fails unless the caller may do what needs the role on the gateway.
func (a *api) authorise(c caller, gateway string, need access.Role) error {
	bindings, ok := a.directory.Bindings()[gateway]
	switch {
	case !ok:
		return notFound("gateway %q does not exist", gateway)
	case a.may(c, bindings, need):
		return nil
	case c.account == "":
		return forbidden("gateway %q has access_bindings: set tokens for the connection API, so that service accounts can be told apart", gateway)
	}
	return forbidden("service account %q lacks the role %s on gateway %q: add it to access_bindings there", c.account, need, gateway)
}
