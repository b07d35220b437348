// Package lease divides a fixed number of parts among members that come and go.
//
// All members share one table (table.go) in a store (bucket.go), and change it by
// compare-and-set. A member renews its lease by writing; with the lease it holds its
// parts. Each member measures time by its own monotonic clock alone: a holder counts
// from before it wrote, an observer from after it has seen what was written. So the
// lease has ended for the holder before anyone else can take it to have ended,
// whatever their clocks show. Only clocks that run at different speeds could break
// this, and a holder stops a tenth earlier for their sake.
package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Store keeps the table.
type Store interface {
	// Get returns the newest value, and 0 as the revision of none.
	Get(ctx context.Context) (value []byte, revision uint64, err error)
	// Put replaces the value of a revision. It returns ErrConflict if another has.
	Put(ctx context.Context, value []byte, revision uint64) error
	// Changes tells that Get may have something new to say. It may tell too much, and
	// miss some.
	Changes() <-chan struct{}
}

// ErrConflict is returned by Store.Put when the value has changed since.
var ErrConflict = errors.New("the table of leases was changed by another")

// Holder does the work of the parts. No method may block.
type Holder interface {
	// Hold begins the work of a part.
	Hold(part int)
	// Yield ends it when what is under way is finished, and then calls done.
	Yield(part int, done func())
	// Drop ends it at once.
	Drop(part int)
	// Status says whether there is a lease: nil if so, else why not.
	Status(err error)
}

// Config says who a member is.
type Config struct {
	Member   string        // unique
	Parts    int           // the same for all
	Duration time.Duration // of the lease
}

// Member takes part. Run does all of its work.
type Member struct {
	cfg    Config
	store  Store
	holder Holder
	log    *slog.Logger

	held    map[int]*hold
	yielded chan *hold
	seen    map[string]sighting
	looked  time.Time // when the table was last seen
	renewed time.Time // from which the lease counts; zero for none
	failing bool      // told that it cannot be renewed
}

// hold is one time of holding a part.
type hold struct {
	part     int
	yielding bool
	done     bool // yielded
}

// sighting is when a renewal was first seen.
type sighting struct {
	renewal uint64
	at      time.Time
}

// New makes a member, which has not joined yet.
func New(cfg Config, store Store, holder Holder, log *slog.Logger) *Member {
	return &Member{
		cfg: cfg, store: store, holder: holder, log: log.With("member", cfg.Member),
		held: make(map[int]*hold), yielded: make(chan *hold, 2*cfg.Parts), seen: make(map[string]sighting),
	}
}

// interval is the time between renewals: three of them may fail.
func (m *Member) interval() time.Duration { return m.cfg.Duration / 4 }

// end is when this member stops to count on its lease.
func (m *Member) end() time.Time { return m.renewed.Add(m.cfg.Duration - m.cfg.Duration/10) }

func (m *Member) valid() bool { return !m.renewed.IsZero() && time.Now().Before(m.end()) }

// Run renews the lease, and takes and yields parts, until ctx ends. Then the parts are
// held still, until Leave or the end of the lease.
func (m *Member) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case h := <-m.yielded:
			h.done = true
		case <-m.store.Changes():
		case <-timer.C:
		}
		wait := m.interval()
		if err := m.step(ctx); err != nil {
			wait = m.cfg.Duration / 10
		}
		if ctx.Err() != nil {
			return
		}
		if m.valid() {
			wait = min(wait, max(0, time.Until(m.renewed.Add(m.interval()))), time.Until(m.end()))
			if m.failing {
				wait = min(m.cfg.Duration/10, time.Until(m.end()))
			}
		}
		timer.Reset(max(wait, time.Millisecond))
	}
}

// step brings the table up to date, and the work of the parts with it.
func (m *Member) step(ctx context.Context) error {
	m.expire(nil)
	deadline := time.Now().Add(m.interval())
	if m.valid() && m.end().Before(deadline) { // else an answer that does not come would prolong it
		deadline = m.end()
	}
	call, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	first := m.renewed.IsZero()
	err := ErrConflict
	for errors.Is(err, ErrConflict) && call.Err() == nil {
		err = m.turn(call)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		if m.failing && !first { // of the first, turn tells
			m.log.Info("The lease can be renewed again")
		}
		m.failing = false
		m.holder.Status(nil)
	case !m.failing && first:
		m.failing = true
		m.log.Warn("There is no lease yet: this is tried until there is one, and no part begins before", "error", err)
	case !m.failing:
		m.failing = true
		m.log.Warn("The lease cannot be renewed: its parts go on until it ends", "error", err, "parts", slices.Sorted(maps.Keys(m.held)))
	}
	m.expire(err)
	return err
}

// expire drops all parts once the lease has ended.
func (m *Member) expire(err error) {
	if m.valid() {
		return
	}
	if len(m.held) > 0 {
		m.log.Error("The lease has ended, since it could not be renewed: its parts stop here, and go on where there is a lease", "parts", slices.Sorted(maps.Keys(m.held)))
		for part := range m.held {
			m.drop(part)
		}
	}
	if err != nil {
		m.holder.Status(fmt.Errorf("no lease: %w", err))
	}
}

// turn reads the table, and writes it if there is something to change.
func (m *Member) turn(ctx context.Context) error {
	value, revision, err := m.store.Get(ctx)
	if err != nil {
		return err
	}
	now, err := parseTable(value, m.cfg.Parts)
	if err != nil {
		return err
	}
	next := m.plan(now)
	if m.valid() && slices.Equal(now.Parts, next.Parts) && len(now.Members) == len(next.Members) && time.Since(m.renewed) < m.interval() {
		m.apply(now)
		return nil
	}
	next.Members[m.cfg.Member]++
	began := time.Now()
	if err := m.store.Put(ctx, next.value(), revision); err != nil {
		return err
	}
	joined := m.renewed.IsZero()
	m.renewed = began
	if joined {
		m.log.Info("Joined those that share the parts", "members", len(next.Members), "parts", m.cfg.Parts, "lease", m.cfg.Duration)
	}
	m.apply(next)
	return nil
}

// plan is the table as this member would have it.
func (m *Member) plan(now table) table {
	next := now.clone()
	for _, gone := range m.gone(now) {
		m.log.Warn("A member is gone, as it has not renewed its lease: its parts are free", "gone", gone, "parts", now.of(gone))
		next.remove(gone)
	}
	if _, there := next.Members[m.cfg.Member]; !there {
		next.Members[m.cfg.Member] = 0
	}
	next.take(m.cfg.Member)
	for part, h := range m.held {
		if h.done && now.Parts[part] == m.cfg.Member {
			next.Parts[part] = ""
		}
	}
	return next
}

// gone is the members whose lease has ended. The time in which this one could not look
// does not count against them: when the store was away, they could not renew either,
// and each keeps its parts.
func (m *Member) gone(now table) (gone []string) {
	at := time.Now()
	blind := at.Sub(m.looked) > m.cfg.Duration/2
	m.looked = at
	for member := range m.seen {
		if _, there := now.Members[member]; !there {
			delete(m.seen, member)
		}
	}
	for member, renewal := range now.Members {
		if member == m.cfg.Member {
			continue
		}
		last, known := m.seen[member]
		switch {
		case blind || !known || last.renewal != renewal:
			m.seen[member] = sighting{renewal, at}
		case at.Sub(last.at) >= m.cfg.Duration:
			gone = append(gone, member)
		}
	}
	slices.Sort(gone)
	return gone
}

// apply does what the table says.
func (m *Member) apply(t table) {
	for part, h := range m.held {
		switch {
		case t.Parts[part] == m.cfg.Member:
		case h.done:
			delete(m.held, part)
		default:
			m.log.Warn("Another has taken the part: it stops here", "part", part, "by", t.Parts[part])
			m.drop(part)
		}
	}
	var taken []int
	for _, part := range t.of(m.cfg.Member) {
		if m.held[part] == nil {
			m.held[part] = &hold{part: part}
			m.holder.Hold(part)
			taken = append(taken, part)
		}
	}
	if len(taken) > 0 {
		m.log.Info("Took parts", "parts", taken, "held", len(m.held), "members", len(t.Members))
	}
	m.yield(t)
}

// yield begins to give up what is too much. What has begun goes on, even if it is
// needed no longer: the part is then taken again.
func (m *Member) yield(t table) {
	excess := len(t.surplus(m.cfg.Member))
	for _, h := range m.held {
		if h.yielding {
			excess--
		}
	}
	var yielded []int
	for _, part := range slices.Backward(slices.Sorted(maps.Keys(m.held))) {
		h := m.held[part]
		if excess <= 0 {
			break
		}
		if h.yielding {
			continue
		}
		excess--
		h.yielding = true
		yielded = append(yielded, part)
		m.holder.Yield(part, func() { m.yielded <- h })
	}
	if len(yielded) > 0 {
		m.log.Info("Yielding parts to others", "parts", yielded, "members", len(t.Members))
	}
}

func (m *Member) drop(part int) {
	delete(m.held, part)
	m.holder.Drop(part)
}

// Leave gives up all that is held, for others to take it at once and not only when the
// lease has ended. It is called after Run, and when the work of the parts has ended.
func (m *Member) Leave(ctx context.Context) {
	if m.renewed.IsZero() {
		return
	}
	if err := m.leave(ctx); err != nil {
		m.log.Warn("The lease could not be given up: others wait until it ends", "error", err, "lease", m.cfg.Duration)
	}
}

func (m *Member) leave(ctx context.Context) error {
	for {
		value, revision, err := m.store.Get(ctx)
		if err != nil {
			return err
		}
		t, err := parseTable(value, m.cfg.Parts)
		if err != nil {
			return err
		}
		t.remove(m.cfg.Member)
		if err := m.store.Put(ctx, t.value(), revision); !errors.Is(err, ErrConflict) {
			return err
		}
	}
}
