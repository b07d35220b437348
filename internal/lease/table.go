package lease

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// table is what all members share. It is one value of the bucket, so that each change
// is decided on the whole of it, and the revision says whose came first.
type table struct {
	Parts   []string          `json:"parts"`   // who holds each; empty for nobody
	Members map[string]uint64 `json:"members"` // how often each has renewed its lease
}

// parseTable reads a value of the bucket; an empty one is that of nobody yet.
func parseTable(value []byte, parts int) (t table, err error) {
	if len(value) > 0 {
		if err := json.Unmarshal(value, &t); err != nil {
			return t, fmt.Errorf("what the bucket holds is not a table of leases: %w", err)
		}
		if len(t.Parts) != parts {
			return t, fmt.Errorf("the others divide the messages into %d parts, and this one into %d: give all the same number, or this one another client_id", len(t.Parts), parts)
		}
	} else {
		t.Parts = make([]string, parts)
	}
	if t.Members == nil {
		t.Members = make(map[string]uint64)
	}
	return t, nil
}

func (t table) value() []byte {
	value, err := json.Marshal(t)
	if err != nil {
		panic(err) // texts and numbers
	}
	return value
}

func (t table) clone() table {
	return table{Parts: slices.Clone(t.Parts), Members: maps.Clone(t.Members)}
}

// of is the parts that a member holds.
func (t table) of(member string) (parts []int) {
	for part, holder := range t.Parts {
		if holder == member {
			parts = append(parts, part)
		}
	}
	return parts
}

// remove takes a member out. Its parts are free.
func (t table) remove(member string) {
	delete(t.Members, member)
	for _, part := range t.of(member) {
		t.Parts[part] = ""
	}
}

// quota is how many parts a member should hold. All get the same number, and where
// that leaves some parts over, those members one more that hold the most: so the
// fewest parts move.
func (t table) quota(member string) int {
	members := slices.SortedFunc(maps.Keys(t.Members), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(t.of(b)), len(t.of(a))), cmp.Compare(a, b))
	})
	place := slices.Index(members, member)
	if place < 0 {
		return 0
	}
	quota := len(t.Parts) / len(members)
	if place < len(t.Parts)%len(members) {
		quota++
	}
	return quota
}

// take gives a member free parts, up to its quota.
func (t table) take(member string) {
	missing := t.quota(member) - len(t.of(member))
	for part, holder := range t.Parts {
		if missing <= 0 {
			return
		}
		if _, there := t.Members[holder]; !there {
			t.Parts[part] = member
			missing--
		}
	}
}

// surplus is the parts that a member should yield.
func (t table) surplus(member string) []int {
	parts := t.of(member)
	return parts[min(t.quota(member), len(parts)):]
}
