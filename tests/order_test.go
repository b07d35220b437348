package tests

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A trigger keeps the order of its messages, though Benthos runs its pipeline in
// as many threads as there are processors.
func TestOrder(t *testing.T) {
	const messages = 500
	check := func(t *testing.T, b *broker, cast *iotcast) {
		t.Helper()
		c := connectGo(t, cast.url("/telemetry"))
		all := make([]message, messages)
		for i := range all {
			// Some large, which take longer to write than those behind them.
			all[i] = message{topic: "hall/press", payload: append(strconv.AppendInt(nil, int64(i), 10), bytes.Repeat([]byte(" "), i%2*10_000)...)}
		}
		b.publish(1, all...)
		var arrived []int
		entries, _ := c.waitEntries(messages)
		for _, e := range entries {
			n, err := strconv.Atoi(strings.TrimSpace(string(e.payload)))
			if err != nil {
				t.Fatal(err)
			}
			arrived = append(arrived, n)
		}
		if !slices.IsSorted(arrived) {
			t.Errorf("messages arrived out of order: %v …", arrived[:50])
		}
	}
	t.Run("run", func(t *testing.T) {
		t.Parallel()
		b := startMosquitto(t)
		check(t, b, runIotcast(t, trigger(b, "broker_id: factory", "")))
	})
	t.Run("streams", func(t *testing.T) {
		t.Parallel()
		b := startMosquitto(t)
		cast := runStreams(t)
		cast.must(http.MethodPost, "/streams/trigger", trigger(b, "broker_id: factory", ""))
		cast.waitReady()
		check(t, b, cast)
	})
}
