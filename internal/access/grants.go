package access

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The roles of the management API, by the names of the original service.
const (
	ViewerOfAll         = "viewer"                   // see everything
	EditorOfAll         = "editor"                   // change registries, devices, brokers and triggers, and publish
	AdminOfAll          = "admin"                    // everything, streams and the state among it
	ServiceAccountsUser = "iam.serviceAccounts.user" // make triggers that act as a service account
	DevicesWriter       = "iot.devices.writer"       // publish
)

// included are the roles that come with a role at once.
var included = map[string][]string{
	AdminOfAll:          {EditorOfAll, ServiceAccountsUser, prefix + "admin"},
	EditorOfAll:         {ViewerOfAll, DevicesWriter, prefix + "editor"},
	ViewerOfAll:         {prefix + "viewer"},
	ServiceAccountsUser: nil,
	DevicesWriter:       nil,
}

// GrantNames are the names of all roles that a Grant may have.
func GrantNames() []string { return append(slices.Sorted(maps.Keys(included)), Names()...) }

// Grant gives a service account a role.
type Grant struct {
	Account   string
	Role      string
	Resources []string // IDs of what it holds on; none: on all
}

// Grants are those of a process.
type Grants []Grant

// Check tells why a grant cannot be.
func (g Grant) Check() error {
	if g.Account == "" {
		return fmt.Errorf("service_account_id must not be empty")
	}
	if _, err := ParseRole(g.Role); err == nil && strings.HasPrefix(g.Role, prefix) {
		return nil
	}
	if _, ok := included[g.Role]; !ok {
		return fmt.Errorf("role %q does not exist: there is %s", g.Role, strings.Join(GrantNames(), ", "))
	}
	return nil
}

// includes reports whether a role is another, or comes with it.
func includes(role, need string) bool {
	if role == need {
		return true
	}
	if strings.HasPrefix(role, prefix) && strings.HasPrefix(need, prefix) {
		has, err1 := ParseRole(role)
		wants, err2 := ParseRole(need)
		return err1 == nil && err2 == nil && has >= wants
	}
	return slices.ContainsFunc(included[role], func(next string) bool { return includes(next, need) })
}

// Allow tells whether a service account has a role on one of the resources, or on all.
func (g Grants) Allow(account, need string, resources ...string) bool {
	return slices.ContainsFunc(g, func(one Grant) bool {
		return one.Account == account && includes(one.Role, need) &&
			(len(one.Resources) == 0 || slices.ContainsFunc(resources, func(id string) bool { return slices.Contains(one.Resources, id) }))
	})
}

// Of are the roles of a service account, with those that come with them: which hold on all, and on which resources others do.
func (g Grants) Of(account string) (all []string, restricted map[string][]string) {
	all, restricted = []string{}, map[string][]string{}
	for _, role := range GrantNames() {
		if g.Allow(account, role) {
			all = append(all, role)
			continue
		}
		for _, one := range g {
			if one.Account == account && includes(one.Role, role) {
				restricted[role] = append(restricted[role], one.Resources...)
			}
		}
	}
	return all, restricted
}
