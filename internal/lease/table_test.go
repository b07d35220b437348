package lease

import (
	"fmt"
	"slices"
	"testing"
)

// settle has all members act, each on what the others have left, until nothing moves.
// It returns how many parts changed hands.
func settle(t *testing.T, now *table) (moved int) {
	t.Helper()
	for range 3 * (len(now.Parts) + len(now.Members) + 1) {
		before := slices.Clone(now.Parts)
		for member := range now.Members { // in any order
			now.take(member)
			for _, part := range now.surplus(member) {
				now.Parts[part] = ""
			}
		}
		if slices.Equal(before, now.Parts) {
			return moved
		}
		for part := range before {
			if before[part] != now.Parts[part] && now.Parts[part] != "" {
				moved++
			}
		}
	}
	t.Fatalf("it does not settle: %v", now.Parts)
	return 0
}

func checkFair(t *testing.T, now table) {
	t.Helper()
	if len(now.Members) == 0 {
		return
	}
	for part, holder := range now.Parts {
		if _, there := now.Members[holder]; !there {
			t.Errorf("part %d is held by %q, who is none of %v", part, holder, now.Members)
		}
	}
	least := len(now.Parts) / len(now.Members)
	for member := range now.Members {
		if n := len(now.of(member)); n < least || n > least+1 {
			t.Errorf("%s holds %d parts of %d, where %d or one more is fair", member, n, len(now.Parts), least)
		}
	}
}

// FuzzTable: whoever comes and goes, all parts are held soon, in fair shares, and no
// more parts move than must.
func FuzzTable(f *testing.F) {
	f.Add(byte(8), []byte{1, 2, 3, 4, 2, 1})
	f.Add(byte(12), []byte{1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 5, 7})
	f.Add(byte(2), []byte{1, 2, 3, 4, 5})
	f.Add(byte(1), []byte{1, 2, 1, 2})
	f.Fuzz(func(t *testing.T, parts byte, changes []byte) {
		now, err := parseTable(nil, int(parts%32)+1)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes[:min(len(changes), 40)] {
			member := fmt.Sprintf("m%d", c%16)
			free := 0
			if _, there := now.Members[member]; there {
				free = len(now.of(member))
				now.remove(member)
			} else {
				now.Members[member] = 0
			}
			moved := settle(t, &now)
			checkFair(t, now)
			// One that leaves moves what it held, one that comes its share.
			most := free
			if _, there := now.Members[member]; there {
				most = len(now.of(member))
				if len(now.Members) == 1 {
					most = len(now.Parts)
				}
			}
			if moved > most {
				t.Fatalf("%d parts moved, of at most %d: %v", moved, most, now.Parts)
			}
		}
	})
}

func TestTableOfAnotherNumberOfParts(t *testing.T) {
	now, _ := parseTable(nil, 8)
	if _, err := parseTable(now.value(), 12); err == nil {
		t.Error("12 parts were made of 8")
	}
	if _, err := parseTable([]byte("{"), 12); err == nil {
		t.Error("what is no table was taken for one")
	}
}
