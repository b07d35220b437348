package devbroker

import (
	"sync"
	"time"
)

// mostBuckets bounds how many buckets of strangers are kept.
const mostBuckets = 1 << 16

// buckets count how often something is done by each of many: so often at once, and so often in a period. Who has done nothing
// for a period costs nothing.
type buckets[K comparable] struct {
	most   int // 0: no limit
	period time.Duration

	mu    sync.Mutex
	of    map[K]bucket
	sweep int // how many there are when those that are full again are thrown away
}

// bucket is how much was left at a time; below zero: who comes next has to wait.
type bucket struct {
	left float64
	at   time.Time
}

func newBuckets[K comparable](most int, period time.Duration) *buckets[K] {
	return &buckets[K]{most: most, period: period, of: map[K]bucket{}, sweep: mostBuckets / 16}
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
	delete(b.of, who)
}

// now is a bucket as it is now. The caller must hold mu.
func (b *buckets[K]) now(who K) bucket {
	now := time.Now()
	before, there := b.of[who]
	if !there {
		return bucket{float64(b.most), now}
	}
	return b.filled(before, now)
}

func (b *buckets[K]) filled(k bucket, now time.Time) bucket {
	more := float64(now.Sub(k.at)) / float64(b.period) * float64(b.most)
	return bucket{min(k.left+more, float64(b.most)), now}
}

// put keeps a bucket. The caller must hold mu.
func (b *buckets[K]) put(who K, now bucket) {
	if len(b.of) >= b.sweep {
		for other, k := range b.of {
			if b.filled(k, now.at).left >= float64(b.most) {
				delete(b.of, other)
			}
		}
		b.sweep = min(max(2*len(b.of), mostBuckets/16), mostBuckets)
	}
	b.of[who] = now
	if len(b.of) <= mostBuckets {
		return
	}
	for other := range b.of { // any of them
		if other != who {
			delete(b.of, other)
			return
		}
	}
}
