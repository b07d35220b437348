package gateway

import (
	"regexp"

	"github.com/google/uuid"
)

// idOf is how a connection is called outside: its UUID, behind the name of the node
// where there is one.
func idOf(node string, id uuid.UUID) string {
	if node == "" {
		return id.String()
	}
	return node + "-" + id.String()
}

var nodeID = regexp.MustCompile(`^[a-z0-9]{1,12}$`)

// ValidNodeID reports whether a node can be called so.
func ValidNodeID(node string) bool { return nodeID.MatchString(node) }

// NodeOf returns the name of the node that a connection ID begins with, "" if it
// has none or is no such ID. What a caller writes in its place must not reach the
// network between the nodes.
func NodeOf(id string) string {
	if node, _ := splitID(id); ValidNodeID(node) {
		return node
	}
	return ""
}

// uuidLength is that of a UUID as text.
const uuidLength = 36

func splitID(id string) (node, own string) {
	if at := len(id) - uuidLength; at > 1 && id[at-1] == '-' {
		return id[:at-1], id[at:]
	}
	return "", id
}
