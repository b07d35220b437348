package devbroker

import (
	"slices"
	"testing"
)

// Those who share a subscription get about as much as each other while they are connected, and each message goes to one of them.
func TestSharedEvenly(t *testing.T) {
	b := startBroker(t, Config{}, nil)
	const messages, filter = 300, "$share/g/a"
	var all []*numbers
	for _, id := range []string{"one", "two", "three", "away"} {
		o := options(b, id).SetCleanSession(false)
		c, n := connect(t, o), newNumbers()
		wait(t, c.Subscribe(filter, 1, n.handle))
		if id == "away" {
			c.Disconnect(1000)
			continue
		}
		all = append(all, n)
	}
	eventually(t, "one has gone", func() bool { return b.server.Info.Clone().ClientsConnected == 3 })
	publishNumbers(t, connect(t, options(b, "publisher")), "a", 0, messages, 0)
	var got []int
	eventually(t, "all have come", func() bool {
		got = nil
		for _, n := range all {
			got = append(got, n.until(t, func([]int) bool { return true })...)
		}
		return len(got) >= messages
	})
	slices.Sort(got)
	inOrder(t, got, messages)
	for i, n := range all {
		if has := len(n.untilCount(t, 1)); has < messages/6 { // half of a fair share, which chance misses once in 10^11
			t.Errorf("subscriber %d got %d of %d messages", i, has, messages)
		}
	}
}
