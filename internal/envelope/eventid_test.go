package envelope

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
)

func TestEventIDsAreVersion7(t *testing.T) {
	before := time.Now().Truncate(time.Millisecond)
	text := NewEventIDs().Next()
	after := time.Now()

	id, err := uuid.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if id.Version() != 7 || id.Variant() != uuid.RFC4122 {
		t.Errorf("%s: version %v, variant %v", text, id.Version(), id.Variant())
	}
	if text != strings.ToLower(text) {
		t.Errorf("%s is not lower case", text)
	}
	sec, nsec := id.Time().UnixTime()
	if at := time.Unix(sec, nsec); at.Before(before) || at.After(after) {
		t.Errorf("%s carries %v, want %v to %v", text, at, before, after)
	}
}

func TestEventIDsAscendWhileTimeStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := NewEventIDs()
		previous := ids.Next()
		for range 10_000 { // more than the fraction of a millisecond can count
			next := ids.Next()
			if next <= previous {
				t.Fatalf("%s after %s", next, previous)
			}
			previous = next
		}
	})
}

func TestEventIDsAreUniqueAcrossGoroutines(t *testing.T) {
	const goroutines, each = 8, 2000
	ids := NewEventIDs()
	var (
		wg   sync.WaitGroup
		seen sync.Map
	)
	for range goroutines {
		wg.Go(func() {
			previous := ""
			for range each {
				id := ids.Next()
				if id <= previous {
					t.Errorf("%s after %s", id, previous)
				}
				if _, twice := seen.LoadOrStore(id, true); twice {
					t.Errorf("%s came twice", id)
				}
				previous = id
			}
		})
	}
	wg.Wait()
}

func TestEventIDsAllocateTheStringOnly(t *testing.T) {
	ids := NewEventIDs()
	if n := testing.AllocsPerRun(100, func() { ids.Next() }); n > 1 {
		t.Errorf("%v allocations, want at most 1", n)
	}
}

func BenchmarkEventIDs(b *testing.B) {
	ids := NewEventIDs()
	b.ReportAllocs()
	for b.Loop() {
		ids.Next()
	}
}
