package devbroker

import (
	"sync"
	"time"
)

// mostBuckets bounds how many buckets are kept: strangers can make any number of them. Beyond it, the oldest are forgotten.
const mostBuckets = 1 << 16

// buckets count how often something is done by each of many: so often at once, and so often in a period. A bucket that was not
// touched for a period is full again, and need not be kept: so there are two generations, and the older one is thrown away.
type buckets[K comparable] struct {
	most   int // 0: no limit
	period time.Duration

	mu       sync.Mutex
	young    map[K]bucket // touched since
	old      map[K]bucket // touched in the time before
	since    time.Time
	capacity int // of a generation
}

// bucket is how much was left at a time; below zero: who comes next has to wait.
type bucket struct {
	left float64
	at   time.Time
}

func newBuckets[K comparable](most int, period time.Duration) *buckets[K] {
	return &buckets[K]{most: most, period: period, young: map[K]bucket{}, capacity: mostBuckets / 2}
}

// take reports whether something may be done now, and counts it.
func (b *buckets[K]) take(who K) bool {
	if b.most == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now(who)
	if now.left < 1 {
		return false
	}
	now.left--
	b.put(who, now)
	return true
}

// wait counts something that will be done, and says when.
func (b *buckets[K]) wait(who K) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now(who)
	now.left--
	b.put(who, now)
	if now.left >= 0 {
		return 0
	}
	return time.Duration(-now.left / float64(b.most) * float64(b.period))
}

// giveBack takes back what take has counted.
func (b *buckets[K]) giveBack(who K) {
	if b.most == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now(who)
	now.left = min(now.left+1, float64(b.most))
	b.put(who, now)
}

// forget takes back all that was counted of one.
func (b *buckets[K]) forget(who K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.young, who)
	delete(b.old, who)
}

// now is a bucket as it is now. The caller must hold mu.
func (b *buckets[K]) now(who K) bucket {
	now := time.Now()
	k, there := b.young[who]
	if !there {
		k, there = b.old[who]
	}
	if !there {
		return bucket{float64(b.most), now}
	}
	more := float64(now.Sub(k.at)) / float64(b.period) * float64(b.most)
	return bucket{min(k.left+more, float64(b.most)), now}
}

// put keeps a bucket. The caller must hold mu.
func (b *buckets[K]) put(who K, now bucket) {
	switch age := now.at.Sub(b.since); {
	case age >= 2*b.period: // nobody was here for a period
		b.young, b.old, b.since = map[K]bucket{}, nil, now.at
	case age >= b.period || len(b.young) >= b.capacity:
		b.young, b.old, b.since = map[K]bucket{}, b.young, now.at
	}
	b.young[who] = now
}
