package gateway

import "github.com/google/uuid"

// idOf is how a connection is called outside: its UUID, behind the name of the node
// where there is one.
func idOf(node string, id uuid.UUID) string {
	if node == "" {
		return id.String()
	}
	return node + "-" + id.String()
}

// NodeOf returns the name of the node that a connection ID begins with, "" if it
// has none or is no such ID.
func NodeOf(id string) string {
	node, _ := splitID(id)
	return node
}

// uuidLength is that of a UUID as text.
const uuidLength = 36

func splitID(id string) (node, own string) {
	if at := len(id) - uuidLength; at > 1 && id[at-1] == '-' {
		return id[:at-1], id[at:]
	}
	return "", id
}
