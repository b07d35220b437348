package iotmqtt

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRivalsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rivalry
		var text strings.Builder
		log := slog.New(slog.NewTextHandler(&text, nil))
		waits := func(cutShort bool) time.Duration {
			began := time.Now()
			if err := r.wait(t.Context(), cutShort, log); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		for i, want := range []time.Duration{0, 0, 1, 2, 4, 8, 16, 30, 30} {
			if got := waits(true); got != want*time.Second {
				t.Errorf("connection %d waits for %v, want %d s", i, got, want)
			}
		}
		if n := strings.Count(text.String(), "client_id"); n != 1 {
			t.Errorf("%d hints in %s", n, text.String())
		}
		for i, cutShort := range []bool{false, true, true} {
			if got := waits(cutShort); got != 0 {
				t.Errorf("connection %d after one that lasted waits for %v", i, got)
			}
		}
	})
}
