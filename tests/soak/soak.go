package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/iotcast/iotcast/tests/internal/publisher"
	"github.com/iotcast/iotcast/tests/internal/subscriber"
)

// soak is one run.
type soak struct {
	random   *rand.Rand
	duration time.Duration
	rate     int
	clients  int

	site      *site
	publisher *publisher.Publisher
	listeners []*listener
	counts    map[string]int // faults
	healing   sync.WaitGroup // faults that end by themselves
	mu        sync.Mutex
	failures  []error
	began     time.Time
}

// listener is a client of a node, and what it was entitled to.
type listener struct {
	*subscriber.Subscriber
	name  string
	node  *node
	leave context.CancelFunc
	done  chan struct{}
	left  bool // for good, before the end
}

var devices = []string{"$devices/boiler/events", "$devices/cellar/events", "$devices/rooftop/events"}

// settling is how long the clients may take for the last message after the last
// fault.
const settling = 90 * time.Second

func (s *soak) run(ctx context.Context) (err error) {
	if s.site, err = startSite(); err != nil {
		return err
	}
	s.counts, s.began = map[string]int{}, time.Now()
	publishing, stopPublishing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPublishing()
	for _, n := range s.site.nodes() {
		for range s.clients {
			s.listen(n)
		}
	}
	s.publisher = &publisher.Publisher{
		Addr: s.site.broker, Topics: devices, Window: 100, Size: 200,
		Interval: time.Second / time.Duration(s.rate),
	}
	published := make(chan error, 1)
	go func() { published <- s.publisher.Run(publishing) }()
	defer s.leaveAll()
	live := s.startLive()
	defer live.end()
	if err := s.waitFor(ctx, settling, func(l *listener) bool { return l.Top() >= 0 }); err != nil {
		return fmt.Errorf("before any fault: %w", err)
	}

	// In the last third no iotcast is restarted, so that growth would show.
	s.makeFaults(ctx, s.duration*2/3, allFaults)
	s.heal(ctx)
	before, err := s.sizes()
	if err != nil {
		return err
	}
	s.makeFaults(ctx, s.duration/3, lastingFaults)
	s.heal(ctx)

	s.publisher.Stop()
	if err := <-published; err != nil {
		return err
	}
	last := s.publisher.Accepted() - 1
	late := s.waitFor(ctx, settling, func(l *listener) bool { return l.left || l.Has(last) })
	late = errors.Join(late, live.finish())
	after, err := s.sizes()
	if err != nil {
		return err
	}
	s.leaveAll()
	return errors.Join(append(s.failures, late, s.settle(), live.settle(), s.checkSizes(before, after))...)
}

// listen adds a client to a node.
func (s *soak) listen(n *node) {
	ctx, leave := context.WithCancel(context.Background())
	l := &listener{
		Subscriber: &subscriber.Subscriber{
			URL: "ws://" + n.gateway + "/telemetry", Compressed: len(s.listeners)%2 == 1,
		},
		name: fmt.Sprintf("%s-%d", n.name, len(s.listeners)+1), node: n, leave: leave, done: make(chan struct{}),
	}
	s.listeners = append(s.listeners, l)
	go func() {
		defer close(l.done)
		l.Run(ctx)
	}()
}

func (s *soak) leaveAll() {
	for _, l := range s.listeners {
		l.leave()
		<-l.done
	}
}

// makeFaults makes one fault after the other, some of them at a time.
func (s *soak) makeFaults(ctx context.Context, d time.Duration, faults []fault) {
	deadline, report := time.Now().Add(d), time.Now()
	for time.Now().Before(deadline) && ctx.Err() == nil {
		if time.Since(report) > 10*time.Second {
			s.progress()
			report = time.Now()
		}
		f := faults[s.random.IntN(len(faults))]
		s.counts[f.name]++
		if err := f.make(s); err != nil {
			s.fail(fmt.Errorf("%s: %w", f.name, err))
		}
		sleep(ctx, s.upTo(f.rest))
	}
}

// heal waits until all faults are over and all nodes are ready.
func (s *soak) heal(ctx context.Context) {
	s.healing.Wait()
	for _, n := range s.site.nodes() {
		n.network.Mend()
		deadline := time.Now().Add(settling)
		for !n.ready() && ctx.Err() == nil {
			if time.Now().After(deadline) {
				s.fail(fmt.Errorf("%s is not ready %v after the last fault: %s", n.name, settling, n.tail()))
				return
			}
			sleep(ctx, 50*time.Millisecond)
		}
	}
	accepted := s.publisher.Accepted()
	if err := s.waitFor(ctx, settling, func(l *listener) bool { return l.left || l.Top() > accepted }); err != nil {
		s.fail(err)
	}
	s.progress()
}

func (s *soak) progress() {
	arrived, least := 0, -1
	for _, l := range s.listeners {
		if l.left {
			continue
		}
		arrived++
		if top := l.Top(); least < 0 || top < least {
			least = top
		}
	}
	faults := 0
	for _, n := range s.counts {
		faults += n
	}
	fmt.Printf("%6s  %d faults, %d messages accepted, all %d clients have come to %d\n",
		time.Since(s.began).Round(time.Second), faults, s.publisher.Accepted(), arrived, least)
}

// waitFor waits for something to become true of all clients.
func (s *soak) waitFor(ctx context.Context, d time.Duration, ok func(*listener) bool) error {
	deadline := time.Now().Add(d)
	for _, l := range s.listeners {
		for !ok(l) {
			if time.Now().After(deadline) {
				return fmt.Errorf("client %s is behind after %v: it has come to %d of %d", l.name, d, l.Top(), s.publisher.Accepted())
			}
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			sleep(ctx, 20*time.Millisecond)
		}
	}
	return nil
}

func (s *soak) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, err)
	fmt.Println("FAILED:", err)
}

// upTo is a random duration.
func (s *soak) upTo(most time.Duration) time.Duration {
	return time.Duration(s.random.Int64N(int64(most) + 1))
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
