package mqttclient

import (
	"testing"
	"testing/synctest"
	"time"
)

// fakeBroker is one that sends no more than window messages before they are
// acknowledged, and the way there and back takes a while.
type fakeBroker struct {
	f       flow
	window  int
	waiting int // messages
	sent    int // not acknowledged
}

const wayAndBack = 2 * time.Millisecond

// send sends what it may, a message each 100 µs.
func (b *fakeBroker) send() {
	for b.waiting > 0 && b.sent < b.window {
		time.Sleep(100 * time.Microsecond)
		b.f.received(time.Now(), 1)
		b.waiting--
		b.sent++
	}
}

func (b *fakeBroker) acknowledge() {
	b.f.acknowledged(time.Now(), b.sent, false)
	b.sent = 0
	time.Sleep(wayAndBack)
}

// TestFlowFindsTheWindow of brokers that take few messages and of those that take many, and
// loses no time with it from then on.
func TestFlowFindsTheWindow(t *testing.T) {
	for _, window := range []int{1, 2, 10, 20, 32, 1000} {
		synctest.Test(t, func(t *testing.T) {
			b := fakeBroker{f: flow{answer: wayAndBack}, window: window, waiting: 3 * window}
			b.send()
			first := b.f.wait(time.Now())
			if first <= 0 || first > time.Second || window >= fewOut && first > 20*time.Millisecond {
				t.Errorf("window %d: is taken for a stall after %v", window, first)
			}
			time.Sleep(first)
			b.acknowledge()
			b.send()
			if w := b.f.wait(time.Now()); w != 0 || b.f.seen != window {
				t.Errorf("window %d: %d was found, wait %v", window, b.f.seen, w)
			}
		})
	}
}

// TestFlowBelievesNoAccident: bursts that end, what comes seldom, and a pipeline that is slow
// are no windows.
func TestFlowBelievesNoAccident(t *testing.T) {
	for name, each := range map[string]func(b *fakeBroker){
		"bursts": func(b *fakeBroker) {
			b.waiting = 15
			b.send()
			time.Sleep(50 * time.Millisecond)
			b.acknowledge()
			time.Sleep(950 * time.Millisecond)
		},
		"seldom": func(b *fakeBroker) {
			for range 12 {
				b.waiting++
				b.send()
				time.Sleep(40 * time.Millisecond)
			}
			b.acknowledge()
		},
		"slow pipeline": func(b *fakeBroker) {
			for range 5 {
				b.waiting = 6
				b.send()
				time.Sleep(3 * time.Millisecond)
			}
			b.acknowledge()
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := fakeBroker{f: flow{answer: wayAndBack}, window: 1000}
			for range 20 {
				each(&b)
			}
			if b.f.seen != 0 {
				t.Errorf("%s: taken for a window of %d", name, b.f.seen)
			}
		})
	}
}

// TestFlowUnlearns what a broker that was changed has disproved.
func TestFlowUnlearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := fakeBroker{f: flow{answer: wayAndBack}, window: 20, waiting: 60}
		b.send()
		time.Sleep(b.f.wait(time.Now()))
		b.acknowledge()
		b.window = 40
		b.waiting = 30
		b.send()
		if w := b.f.wait(time.Now()); w <= 0 {
			t.Error("30 are on their way, and still 20 are taken for the window")
		}
	})
}
