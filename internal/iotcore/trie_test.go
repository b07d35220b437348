package iotcore

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestTrieAgreesWithMatch adds and removes filters at random.
func TestTrieAgreesWithMatch(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	names := []string{"$devices", "a", "b", "", "events"}
	path := func(more ...string) string {
		from := slices.Concat(names, more)
		levels := make([]string, 1+random.IntN(4))
		for i := range levels {
			levels[i] = from[random.IntN(len(from))]
		}
		return strings.Join(levels, "/")
	}
	var trie Trie[int]
	filters := map[int]string{}
	for i := range 20_000 {
		if len(filters) > 40 {
			for id, filter := range filters {
				trie.Remove(filter, id)
				delete(filters, id)
				break
			}
		}
		filter := path("+", "+")
		if random.IntN(3) == 0 {
			filter = strings.TrimPrefix(filter+"/#", "/")
		}
		if filter != "" {
			filters[i] = filter
			trie.Add(filter, i)
		}
		topic := path()
		var got, want []int
		trie.Match(topic, func(id int) { got = append(got, id) })
		for id, filter := range filters {
			if Match(filter, topic) {
				want = append(want, id)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("topic %q: %d, want %d of %v", topic, got, want, filters)
		}
	}
	for id, filter := range filters {
		trie.Remove(filter, id)
	}
	if len(trie.root.below) > 0 || len(trie.root.under) > 0 {
		t.Errorf("an empty trie holds %v", trie)
	}
}
