package envelope

import (
	cryptorand "crypto/rand"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/google/uuid"
)

// EventIDs makes event IDs: version 7 UUIDs (RFC 9562 section 5.7) in lower case. Those of one EventIDs ascend as text, even
// within one instant and when the clock steps back. It is safe for concurrent use.
//
// uuid.NewV7 asks the kernel for each ID, and uuid.NewV7FromReader moves the ID to the heap; laying out the bits here
// leaves one allocation, the string.
type EventIDs struct {
	mu     sync.Mutex
	random *rand.ChaCha8 // guarded by mu
	last   uint64        // guarded by mu: milliseconds and fraction of the latest ID, in 60 bits
}

// NewEventIDs returns a generator with a seed of its own.
func NewEventIDs() *EventIDs {
	var seed [32]byte
	_, _ = cryptorand.Read(seed[:]) // never fails
	return &EventIDs{random: rand.NewChaCha8(seed)}
}

// Next returns a new ID.
func (e *EventIDs) Next() string {
	now := ticks(time.Now())

	e.mu.Lock()
	// A tick is a quarter of a microsecond: IDs that come faster, or while the clock stands back, count on from the latest
	// (RFC 9562 section 6.2, method 3).
	now = max(now, e.last+1)
	e.last = now
	random := e.random.Uint64()
	e.mu.Unlock()

	var id uuid.UUID
	milliseconds, fraction := now>>12, now&0xfff
	binary.BigEndian.PutUint64(id[:8], milliseconds<<16|0x7000|fraction) // version 7
	binary.BigEndian.PutUint64(id[8:], random&^(3<<62)|2<<62)            // variant 10
	return id.String()
}

// ticks returns the time since 1970 in milliseconds, followed by 12 bits of a millisecond's fraction.
func ticks(t time.Time) uint64 {
	ns := uint64(t.UnixNano())
	const millisecond = uint64(time.Millisecond)
	return ns/millisecond<<12 | ns%millisecond<<12/millisecond
}
