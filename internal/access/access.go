// Package access says who may do what with the connections of a gateway: roles
// of service accounts, after those of the original service.
package access

import (
	"fmt"
	"strings"
)

// Role is what a service account may do. Each role includes those before it.
type Role int

// The roles.
const (
	Auditor     Role = iota + 1 // see that a gateway exists, but no connection
	Viewer                      // see connections
	Writer                      // send to one connection, close one
	Broadcaster                 // send to many
	Editor                      // manage gateways
	Admin
)

// prefix of a role's name; that of the bare name is the same role.
const prefix = "api-gateway."

var names = [...]string{
	Auditor: "auditor", Viewer: "viewer", Writer: "websocketWriter",
	Broadcaster: "websocketBroadcaster", Editor: "editor", Admin: "admin",
}

// Names are the names that ParseRole knows, from the role that may least to that
// which may most.
func Names() []string {
	all := make([]string, 0, len(names)-1)
	for r := Auditor; r <= Admin; r++ {
		all = append(all, r.String())
	}
	return all
}

// ParseRole returns the role of that name, such as api-gateway.viewer. The prefix
// may be left out. The error lists the roles that there are.
func ParseRole(name string) (Role, error) {
	for r := Auditor; r <= Admin; r++ {
		if strings.TrimPrefix(name, prefix) == names[r] {
			return r, nil
		}
	}
	return 0, fmt.Errorf("role %q does not exist: there is %s", name, strings.Join(Names(), ", "))
}

// String implements fmt.Stringer with the full name.
func (r Role) String() string {
	if r < Auditor || r > Admin {
		return fmt.Sprintf("Role(%d)", int(r))
	}
	return prefix + names[r]
}

// Bindings are the roles of service accounts on one gateway, by account ID: of
// each account the one that may most, as it includes the others. Without any, the
// gateway is not restricted: this process may do all.
type Bindings map[string]Role

// Bind gives a service account roles, beside those that it has.
func (b Bindings) Bind(account string, roles ...Role) {
	for _, r := range roles {
		b[account] = max(b[account], r)
	}
}

// Len is how many service accounts have a role.
func (b Bindings) Len() int { return len(b) }

// Of are the names of the roles that a service account has, from that which may least.
func (b Bindings) Of(account string) []string { return Names()[:b[account]] }

// Allows tells whether the service account may do what needs the role. Without
// any bindings, everyone may.
func (b Bindings) Allows(account string, need Role) bool {
	return len(b) == 0 || b[account] >= need
}
