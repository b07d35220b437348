package iotmqtt

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestRefusedLoginsAreTriedLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r refusals
		waits := func(refused bool) time.Duration {
			began := time.Now()
			if err := r.wait(t.Context(), refused); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
			if got := waits(true); got != want*time.Second {
				t.Errorf("try %d waits for %v, want %d s", i, got, want)
			}
		}
		if got := waits(false); got != 0 {
			t.Errorf("after a login that was accepted it waits for %v", got)
		}
		if got := waits(true); got != time.Second {
			t.Errorf("the first refusal after that waits for %v", got)
		}
	})
}
