package access_test

import (
	"strings"
	"testing"

	"github.com/iotcast/iotcast/internal/access"
)

// TestInclusion: each role may what it may, and what those before it may.
func TestInclusion(t *testing.T) {
	order := []string{
		"api-gateway.auditor", "api-gateway.viewer", "api-gateway.websocketWriter",
		"api-gateway.websocketBroadcaster", "api-gateway.editor", "api-gateway.admin",
	}
	for i, has := range order {
		role, err := access.ParseRole(has)
		if err != nil {
			t.Fatal(err)
		}
		if role.String() != has {
			t.Errorf("%s is called %s", has, role)
		}
		if bare, err := access.ParseRole(strings.TrimPrefix(has, "api-gateway.")); err != nil || bare != role {
			t.Errorf("%s without prefix: %v %v", has, bare, err)
		}
		b := access.Bindings{}
		b.Bind("a", role)
		for k, needs := range order {
			need, _ := access.ParseRole(needs)
			if got, want := b.Allows("a", need), i >= k; got != want {
				t.Errorf("%s for what needs %s: %v", has, needs, got)
			}
			if b.Allows("b", need) || b.Allows("", need) {
				t.Errorf("an account without a role may what needs %s", needs)
			}
		}
	}
}

// TestBindings: roles add up, and none at all restrict nobody.
func TestBindings(t *testing.T) {
	b := access.Bindings{}
	if b.Len() != 0 || !b.Allows("anyone", access.Admin) || !access.Bindings(nil).Allows("", access.Broadcaster) {
		t.Error("a gateway without bindings is restricted")
	}
	b.Bind("a", access.Broadcaster, access.Viewer)
	b.Bind("a", access.Auditor)
	if b.Len() != 1 || !b.Allows("a", access.Broadcaster) || b.Allows("a", access.Editor) {
		t.Errorf("%v", b)
	}
	b.Bind("b")
	if b.Len() != 1 || b.Allows("b", access.Viewer) {
		t.Errorf("an account bound to nothing: %v", b)
	}
}

// TestUnknownRole: the error says what there is.
func TestUnknownRole(t *testing.T) {
	for _, name := range []string{"", "api-gateway.", "writer", "api-gateway.Viewer", "api-gateway.api-gateway.viewer"} {
		if _, err := access.ParseRole(name); err == nil || !strings.Contains(err.Error(), "api-gateway.websocketBroadcaster") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
