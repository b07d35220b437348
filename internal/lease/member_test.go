package lease

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// store is a Store in memory, which can be out of reach.
type store struct {
	mu       sync.Mutex
	value    []byte
	revision uint64
	members  map[*link]bool
}

// link is how one member reaches it.
type link struct {
	*store
	changes chan struct{}
	away    bool // guarded by store.mu
}

func (s *store) link() *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &link{store: s, changes: make(chan struct{}, 1)}
	if s.members == nil {
		s.members = make(map[*link]bool)
	}
	s.members[l] = true
	return l
}

func (l *link) cut(away bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = away
}

var errAway = errors.New("out of reach")

func (l *link) Get(context.Context) ([]byte, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return nil, 0, errAway
	}
	return l.value, l.revision, nil
}

func (l *link) Put(_ context.Context, value []byte, revision uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.away:
		return errAway
	case revision != l.revision:
		return ErrConflict
	}
	l.value, l.revision = value, revision+1
	for m := range l.members {
		if !m.away {
			select {
			case m.changes <- struct{}{}:
			default:
			}
		}
	}
	return nil
}

func (l *link) Changes() <-chan struct{} { return l.changes }

// world is what holders do, and sees that no part is held twice.
type world struct {
	t    *testing.T
	mu   sync.Mutex
	held map[int]string
}

// worker is a Holder, and a member with it.
type worker struct {
	*world
	name   string
	link   *link
	member *Member
	slow   time.Duration // what yielding takes
	times  map[int]int   // how often each part was held; guarded by mu
	status error
	end    context.CancelFunc
	ended  chan struct{}
}

const (
	lease = 10 * time.Second
	parts = 8
)

func (w *world) add(s *store, name string) *worker {
	m := &worker{world: w, name: name, link: s.link(), slow: time.Second, times: make(map[int]int), ended: make(chan struct{})}
	m.member = New(Config{Member: name, Parts: parts, Duration: lease}, m.link, m, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(w.t.Context())
	m.end = cancel
	go func() {
		defer close(m.ended)
		m.member.Run(ctx)
	}()
	return m
}

func (m *worker) Hold(part int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if other, held := m.held[part]; held {
		m.t.Errorf("%s takes part %d, which %s holds", m.name, part, other)
	}
	m.held[part] = m.name
	m.times[part]++
}

func (m *worker) Drop(part int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held[part] != m.name {
		m.t.Errorf("%s drops part %d, which %q holds", m.name, part, m.held[part])
	}
	delete(m.held, part)
}

func (m *worker) Yield(part int, done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	times := m.times[part]
	time.AfterFunc(m.slow, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.held[part] == m.name && m.times[part] == times { // and not dropped meanwhile
			delete(m.held, part)
		}
		done()
	})
}

func (m *worker) Status(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status = err
}

// kill ends a member without a word. What it did has ended with it.
func (m *worker) kill() {
	m.end()
	<-m.ended
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.held, func(_ int, name string) bool { return name == m.name })
}

// leave is kill with a word.
func (m *worker) leave() {
	m.kill()
	m.member.Leave(context.Background())
}

// shares is how many parts each holds.
func (w *world) shares() (n []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	by := make(map[string]int)
	for _, name := range w.held {
		by[name]++
	}
	return slices.Sorted(maps.Values(by))
}

func (w *world) expect(within time.Duration, want ...int) {
	w.t.Helper()
	time.Sleep(within)
	synctest.Wait()
	if got := w.shares(); !slices.Equal(got, want) {
		w.t.Errorf("shares %v, want %v", got, want)
	}
}

func inWorld(t *testing.T, f func(w *world, s *store)) {
	synctest.Test(t, func(t *testing.T) { f(&world{t: t, held: make(map[int]string)}, new(store)) })
}

func TestMembersComeAndGo(t *testing.T) {
	inWorld(t, func(w *world, s *store) {
		a := w.add(s, "a")
		w.expect(0, 8)
		b := w.add(s, "b")
		w.expect(2*time.Second, 4, 4)
		c := w.add(s, "c")
		w.expect(2*time.Second, 2, 3, 3)
		b.leave()
		w.expect(time.Millisecond, 4, 4)
		a.kill()
		w.expect(lease/2, 4)
		w.expect(lease, 8)
		c.leave()
		w.expect(0)
	})
}

func TestAllAtOnce(t *testing.T) {
	inWorld(t, func(w *world, s *store) {
		var all []*worker
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			all = append(all, w.add(s, name))
		}
		w.expect(5*time.Second, 1, 1, 2, 2, 2)
		for _, m := range all {
			m.leave()
		}
	})
}

// TestStandby: where there are more members than parts, those without one wait.
func TestStandby(t *testing.T) {
	inWorld(t, func(w *world, s *store) {
		var all []*worker
		for i := range parts + 2 {
			all = append(all, w.add(s, string(rune('a'+i))))
		}
		w.expect(20*time.Second, 1, 1, 1, 1, 1, 1, 1, 1)
		for _, m := range all[:2] {
			m.kill()
		}
		w.expect(2*lease, 1, 1, 1, 1, 1, 1, 1, 1)
		for _, m := range all[2:] {
			m.leave()
		}
	})
}

// TestCutOff: a member that cannot renew has stopped before another takes over, and
// takes its share again when it is back.
func TestCutOff(t *testing.T) {
	inWorld(t, func(w *world, s *store) {
		a, b := w.add(s, "a"), w.add(s, "b")
		w.expect(5*time.Second, 4, 4)
		a.link.cut(true)
		w.expect(lease/2, 4, 4) // the lease lasts still
		w.expect(2*lease, 8)    // world fails if b took before a dropped
		if a.status == nil {
			t.Error("a does not know that it has no lease")
		}
		a.link.cut(false)
		w.expect(5*time.Second, 4, 4)
		if a.status != nil {
			t.Error(a.status)
		}
		a.leave()
		b.leave()
	})
}

// TestStoreAway: for less than the lease nothing happens; for longer all stop, and each
// has its own parts again.
func TestStoreAway(t *testing.T) {
	inWorld(t, func(w *world, s *store) {
		all := []*worker{w.add(s, "a"), w.add(s, "b"), w.add(s, "c")}
		w.expect(5*time.Second, 2, 3, 3)
		held := maps.Clone(w.held)
		away := func(d time.Duration) {
			for _, m := range all {
				m.link.cut(true)
			}
			time.Sleep(d)
			for _, m := range all {
				m.link.cut(false)
			}
		}
		away(lease / 2)
		w.expect(0, 2, 3, 3)
		away(3 * lease)
		w.expect(2*time.Second, 2, 3, 3)
		if !maps.Equal(held, w.held) {
			t.Errorf("parts have moved: %v, before %v", w.held, held)
		}
		for _, m := range all {
			m.leave()
		}
	})
}

// TestDroppedWhileYielding: what was being given up when the lease ended is not given
// up later, by somebody who holds it anew.
func TestDroppedWhileYielding(t *testing.T) {
	inWorld(t, func(w *world, s *store) {
		a := w.add(s, "a")
		a.slow = 3 * lease
		w.expect(0, 8)
		b := w.add(s, "b")
		w.expect(time.Second, 8) // it has not finished
		a.link.cut(true)
		w.expect(2*lease, 8) // b has all
		a.link.cut(false)
		w.expect(2*lease, 4, 4)
		a.leave()
		b.leave()
	})
}

func TestAnotherNumberOfParts(t *testing.T) {
	inWorld(t, func(w *world, s *store) {
		now, _ := parseTable(nil, parts+1)
		s.value, s.revision = now.value(), 1
		a := w.add(s, "a")
		w.expect(time.Second)
		if a.status == nil {
			t.Error("it has joined those of another number of parts")
		}
		a.leave()
	})
}
