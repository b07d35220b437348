package fanout

import (
	"slices"
	"sort"
	"time"
)

// Latest bounds of what a hub keeps the newest part. It keeps nothing if MaxKeys is
// 0; else a zero bound does not apply.
type Latest struct {
	ByTopic  bool // of each topic; or else of each key
	MaxKeys  int
	MaxBytes int64
	MaxAge   time.Duration
}

// latest is the newest part of each key. It is guarded by Hub.mu.
type latest struct {
	bounds Latest
	values []value           // oldest first
	byKey  map[string]uint64 // to the number
	count  uint64            // the number of the last
	bytes  int64
	page   page // of the values, by their numbers
}

// value is a part that is, or was, the newest of its key.
type value struct {
	number     uint64 // counts up
	id         string
	key, topic string
	text       []byte // nil: it is not the newest any more
	when       time.Time
}

// valueBytes is what a value takes beside its text.
const valueBytes = 160

// bind gives other bounds, and forgets what is beyond them.
func (l *latest) bind(bounds Latest, now time.Time) {
	rekey := bounds.ByTopic != l.bounds.ByTopic
	l.bounds = bounds
	if !l.enabled() {
		*l = latest{bounds: bounds, count: l.count} // of which whoever reads has all, as there is nothing
		return
	}
	if l.byKey == nil {
		l.byKey = make(map[string]uint64)
	}
	if rekey {
		l.rekey()
	}
	l.trim(now)
}

// rekey goes over from keys to topics, or back: the newest of each counts.
func (l *latest) rekey() {
	before := l.values
	l.values, l.byKey, l.bytes, l.page = nil, make(map[string]uint64), 0, page{}
	for _, v := range before {
		if by := l.by(v.key, v.topic); v.text != nil && by != "" {
			l.remove(by)
			l.put(by, v)
		}
	}
}

// by is what a part is kept by; "": it is not kept.
func (l *latest) by(key, topic string) string {
	if l.bounds.ByTopic {
		return topic
	}
	return key
}

func (l *latest) enabled() bool { return l.bounds.MaxKeys > 0 }

// add takes the parts of a message.
func (l *latest) add(m *Message, now time.Time) {
	if !l.enabled() {
		return
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		by := l.by(p.Key, p.Topic)
		if by == "" {
			continue
		}
		l.remove(by)
		if p.Empty {
			continue
		}
		l.count++
		l.put(by, value{number: l.count, id: p.ID, key: p.Key, topic: p.Topic, text: slices.Clone(m.Payload[p.From:p.To]), when: now})
	}
	l.trim(now)
}

// put adds a value, the newest.
func (l *latest) put(by string, v value) {
	l.values = append(l.values, v)
	l.byKey[by] = v.number
	l.bytes += v.size()
}

// room is what a value takes in a page, about; 0: it is not the newest any more.
func (v *value) room() int {
	if v.text == nil {
		return 0
	}
	return len(v.text) + 1
}

func (v *value) size() int64 { return int64(len(v.text)+len(v.key)+len(v.topic)) + valueBytes }

// find returns the index of the first value with at least a number.
func (l *latest) find(number uint64) int {
	return sort.Search(len(l.values), func(i int) bool { return l.values[i].number >= number })
}

// none reports whether there is no value behind one number and up to another.
func (l *latest) none(after, until uint64) bool {
	for i := l.find(after + 1); i < len(l.values) && l.values[i].number <= until; i++ {
		if l.values[i].text != nil {
			return false
		}
	}
	return true
}

// block returns the block that begins behind a number, of those up to until. It takes in
// the next ones, and behind the last one values, as far as there is room for most bytes.
// It is nil if none begins there, or it ends later.
func (l *latest) block(after, until uint64, most int) *block {
	p := &l.page
	i := p.find(after + 1)
	if p.start(i) != after {
		return nil
	}
	if i == len(p.blocks) {
		p.blocks = append(p.blocks, &block{last: after})
	}
	p.join(i, until, most)
	b := p.blocks[i]
	switch {
	case b.last > until:
		return nil
	case i < len(p.blocks)-1:
		return b
	}
	for at := l.find(b.last + 1); at < len(l.values) && l.values[at].number <= until; at++ {
		v := &l.values[at]
		if !b.fits(v.room(), most) {
			return b
		}
		b.extend(v.number, v.room())
	}
	b.extend(until, 0)
	return b
}

// remove forgets the value of a key.
func (l *latest) remove(by string) {
	number, ok := l.byKey[by]
	if !ok {
		return
	}
	delete(l.byKey, by)
	v := &l.values[l.find(number)]
	l.bytes -= v.size()
	l.page.remove(number, v.room())
	*v = value{number: number}
	if len(l.values) > 2*len(l.byKey)+64 {
		l.values = slices.DeleteFunc(l.values, func(v value) bool { return v.text == nil })
	}
}

// trim forgets what is beyond the bounds.
func (l *latest) trim(now time.Time) {
	b := &l.bounds
	for len(l.byKey) > 0 {
		v := &l.values[0]
		if v.text == nil {
			l.values = l.values[1:]
			continue
		}
		if len(l.byKey) <= b.MaxKeys && (b.MaxBytes == 0 || l.bytes <= b.MaxBytes) && (b.MaxAge == 0 || now.Sub(v.when) <= b.MaxAge) {
			return
		}
		l.remove(l.by(v.key, v.topic))
	}
}
