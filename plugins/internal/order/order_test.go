package order

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// thread is the context that Benthos gives to the processors of one thread.
func thread(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx
}

func batch(turns ...*Turn) (b service.MessageBatch) {
	for _, t := range turns {
		b = append(b, service.NewMessage(nil).WithContext(t.Context()))
	}
	return b
}

// wait is how long Wait took, and what it said.
func wait(ctx context.Context, t *Turn) (time.Duration, bool) {
	begun := time.Now()
	kept := t.Wait(ctx)
	return time.Since(begun), kept
}

func TestThreadDoesNotWaitForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Stream)
		s.AddOutput()
		ctx, turn := thread(t), NewLine(s).First()
		for range 10 {
			if took, kept := wait(ctx, turn); took > 0 || !kept {
				t.Fatalf("waited for %v, kept %v", took, kept)
			}
			turn = turn.Next()
		}
	})
}

func TestWaitsForAnOutputThatIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Stream)
		out := s.AddOutput()
		first := NewLine(s).First()
		second := first.Next()
		third := second.Next()
		first.Wait(thread(t))
		time.AfterFunc(3*time.Second, func() { out.Ready(true) })
		time.AfterFunc(3*time.Second+transit/2, func() {
			_, done := out.Take(batch(first))
			time.AfterFunc(3*time.Second, done)
		})
		if took, kept := wait(thread(t), second); took != 3*time.Second+transit/2 || !kept {
			t.Errorf("waited for %v, kept %v, for an output that connected meanwhile", took, kept)
		}
		time.AfterFunc(3*time.Second+transit/2, func() { out.Take(batch(second)) })
		if took, kept := wait(thread(t), third); took != 3*time.Second+transit/2 || !kept {
			t.Errorf("waited for %v, kept %v, for an output that wrote another batch", took, kept)
		}
		if took, kept := wait(thread(t), third.Next()); took != patience || !kept {
			t.Errorf("waited for %v, kept %v, for an output that never ends", took, kept)
		}
	})
}

// An output takes nothing although it could: what is before it gathers.
func TestNoticesWhatHoldsBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Stream)
		out := s.AddOutput()
		out.Ready(true)
		take := func(turns ...*Turn) {
			_, done := out.Take(batch(turns...))
			done()
		}
		one, other := thread(t), thread(t)
		a := NewLine(s).First()
		b := a.Next()
		c := b.Next()
		d := c.Next()
		e := d.Next()
		a.Wait(one)
		if took, kept := wait(other, b); took > 2*transit || kept {
			t.Errorf("waited for %v, kept %v", took, kept)
		}
		if took, kept := wait(one, c); took > 0 || kept {
			t.Errorf("the next waited for %v, kept %v", took, kept)
		}
		take(a)
		take(b)
		if took, kept := wait(other, d); took == 0 || took > 2*transit || kept {
			t.Errorf("waited for %v, kept %v, after the output took single batches", took, kept)
		}
		take(c, d)
		if took, kept := wait(one, e); took > 0 || !kept {
			t.Errorf("waited for %v, kept %v, though the batch before was taken", took, kept)
		}
		if took, kept := wait(other, e.Next()); took > 0 || kept {
			t.Errorf("waited for %v, kept %v, though the output gets several batches at a time", took, kept)
		}
	})
}

// Batches that were put together before the processor are one to it.
func TestBatchesGatheredByTheInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Stream)
		out := s.AddOutput()
		first := NewLine(s).First()
		second := first.Next()
		third := second.Next()
		first.Wait(thread(t))
		_, done := out.Take(batch(first, second))
		done()
		if took, kept := wait(thread(t), third); took > 0 || !kept {
			t.Errorf("waited for %v, kept %v", took, kept)
		}
		out.Ready(true)
		if _, kept := wait(thread(t), third.Next()); kept {
			t.Error("nothing takes the third batch, and it was waited for")
		}
		out.Take(batch(third))
		if now := s.state(); now.holds {
			t.Error("the output counts as one that gets several batches at a time")
		}
	})
}

func TestStreamsAreForgotten(t *testing.T) {
	res := service.MockResources()
	s := StreamOf(res)
	if StreamOf(res) != s {
		t.Error("two components of one stream have not the same")
	}
	v, _ := res.GetGeneric(streamsKey{})
	known := func() int {
		v := v.(*streams)
		v.mu.Lock()
		defer v.mu.Unlock()
		return len(v.byID)
	}
	if n := known(); n != 1 {
		t.Errorf("%d streams, want 1", n)
	}
	runtime.KeepAlive(s)
	for deadline := time.Now().Add(10 * time.Second); known() > 0; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("a stream without components is still known")
		}
	}
}

// An output that writes several batches at a time queues them in their order, however
// its goroutines overtake each other.
func TestTakesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Stream)
		out := s.AddOutput()
		out.Ready(true)
		first := NewLine(s).First()
		second := first.Next()
		third := second.Next()
		var queued []int
		take := func(n int, turns ...*Turn) {
			if err := out.TakeInTurn(t.Context(), batch(turns...), func() error {
				queued = append(queued, n)
				return nil
			}); err != nil {
				t.Error(err)
			}
		}
		go take(3, third)
		synctest.Wait()
		go take(1, second, first) // gathered
		synctest.Wait()
		if len(queued) != 2 || queued[0] != 1 || queued[1] != 3 {
			t.Errorf("queued in the order %v", queued)
		}
		lost := third.Next()
		begun := time.Now()
		take(5, lost.Next())
		if took := time.Since(begun); took != patience {
			t.Errorf("waited for %v, for a batch that is lost", took)
		}
	})
}
