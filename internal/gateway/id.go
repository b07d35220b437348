package gateway

import (
	"regexp"

	"github.com/google/uuid"
)

// idOf returns the ID by which a connection is known outside: its UUID, behind the name
// of the node and a hyphen where the node has a name.
func idOf(node string, id uuid.UUID) string {
	if node == "" {
		return id.String()
	}
	return node + "-" + id.String()
}

var nodeID = regexp.MustCompile(`^[a-z0-9]{1,12}$`)

// ValidNodeID reports whether a node can have this name: 1 to 12 letters a-z and digits.
func ValidNodeID(node string) bool { return nodeID.MatchString(node) }

// NodeOf returns the name of the node that a connection ID begins with, or "" if there
// is none. It is "" for a name that is not valid, too: whatever a caller has written
// there must not reach the network between the nodes.
func NodeOf(id string) string {
	if node, _ := splitID(id); ValidNodeID(node) {
		return node
	}
	return ""
}

// uuidLength is the length of a UUID as text.
const uuidLength = 36

// splitID takes a connection ID apart. It checks neither part.
func splitID(id string) (node, own string) {
	if at := len(id) - uuidLength; at > 1 && id[at-1] == '-' {
		return id[:at-1], id[at:]
	}
	return "", id
}
