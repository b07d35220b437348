package main

import (
	"fmt"
	"math"
	"strings"
)

// account is what a client that chooses must get, by topic. The numbers of a topic are
// known: each so many behind the one before.
type account struct {
	topics []string
	wants  []bool
	least  []int // of the next number of the topic
	most   []int
	sure   []int // the first number that has to come
	served []int // the client has all up to it; -1: that is not known
	paced  bool  // numbers are left out, but for the newest
	past   bool  // there may come some below least at first
	lossy  bool  // and come once more, after the client was told of a gap

	delivered, outside, missing, again, told int
	failure                                  string // the first
}

// newest is the highest number of a topic that is not above n, -1 if there is none.
func (a *account) newest(topic, n int) int {
	if n < topic {
		return -1
	}
	return n - (n-topic)%len(a.topics)
}

// after is the lowest above n.
func (a *account) after(topic, n int) int {
	if n < topic {
		return topic
	}
	return a.newest(topic, n) + len(a.topics)
}

// begin is for a client that gets the last values, those of an instant when least at
// least had been broadcast and most at most.
func (a *account) begin(wants func(topic string) bool, least, most int) {
	a.past = false
	for t, topic := range a.topics {
		a.wants[t] = wants(topic)
		a.least[t] = max(a.newest(t, least), t)
		a.most[t] = a.after(t, most)
		a.sure[t] = a.least[t]
		a.served[t] = -1
	}
}

// live is for a client that gets what comes from such an instant on, and no more.
func (a *account) live(wants func(topic string) bool, least, most int) {
	a.begin(wants, least, most)
	for t := range a.topics {
		a.least[t] = a.after(t, least)
		a.sure[t] = a.most[t]
	}
}

// rewound is for a client that gets what came in the last time: how much does not
// matter, but for what is still to come.
func (a *account) rewound(wants func(topic string) bool, least int) {
	a.live(wants, least, least)
	a.past = true
}

// goOn is for a client that has seen n, and gets all behind it.
func (a *account) goOn(wants func(topic string) bool, n int) {
	a.past = false
	for t, topic := range a.topics {
		a.wants[t] = wants(topic)
		a.least[t] = a.after(t, n)
		a.most[t], a.sure[t], a.served[t] = a.least[t], a.least[t], n
	}
}

// gap is for a client that was told that its line was too slow.
func (a *account) gap() {
	a.told++
	for t := range a.topics {
		a.most[t] = math.MaxInt
		if a.lossy && a.served[t] >= 0 {
			a.least[t] = min(a.least[t], a.newest(t, a.served[t]))
		}
	}
}

// take is for a number that has come.
func (a *account) take(n int, topic string) {
	t := n % len(a.topics)
	switch {
	case a.topics[t] != topic:
		a.fail("number %d came on topic %s", n, topic)
		return
	case !a.wants[t]:
		a.outside++
		a.fail("got number %d of %s, which it does not watch", n, topic)
		return
	case n < a.least[t] && (!a.past || a.served[t] >= 0):
		a.again++
		a.fail("got number %d of %s, when %d at least was due", n, topic, a.least[t])
		return
	case n > a.most[t]:
		a.missing += (n - a.most[t]) / len(a.topics)
		a.fail("got number %d of %s, when %d at most was due", n, topic, a.most[t])
	}
	a.delivered++
	first := a.served[t] < 0
	a.served[t] = n
	next := n + len(a.topics)
	a.least[t], a.most[t], a.sure[t] = next, next, next
	if a.paced {
		a.most[t] = math.MaxInt
		if first { // others with the same choice may still wait for it
			a.least[t] = n
		}
	}
}

// end is for a choice that another replaces: all up to n was sent while it was in force.
func (a *account) end(n int) {
	for t, topic := range a.topics {
		if newest := a.newest(t, n); a.wants[t] && !a.lossy && a.sure[t] <= newest && a.served[t] < newest {
			a.missing++
			a.fail("did not get number %d of %s before its choice was answered", newest, topic)
		}
	}
}

// lacks is a topic of which the client has not got the newest number up to n, "" if
// there is none.
func (a *account) lacks(n int) string {
	for t, topic := range a.topics {
		if newest := a.newest(t, n); a.wants[t] && a.sure[t] <= newest && a.served[t] < newest {
			return topic
		}
	}
	return ""
}

func (a *account) fail(format string, args ...any) {
	if a.failure == "" {
		a.failure = fmt.Sprintf(format, args...)
	}
}

// wish is what a client watches; one without anything watches everything.
type wish struct {
	DeviceIDs []string `json:"device_ids"`
	Topics    []string `json:"topics"`
}

// covers is deliberately not the code that it tries.
func (w *wish) covers(topic string) bool {
	if len(w.DeviceIDs)+len(w.Topics) == 0 {
		return true
	}
	levels := strings.Split(topic, "/")
	for _, id := range w.DeviceIDs {
		if levels[1] == id {
			return true
		}
	}
	for _, filter := range w.Topics {
		if filterCovers(strings.Split(filter, "/"), levels) {
			return true
		}
	}
	return false
}

func filterCovers(filter, levels []string) bool {
	for i, f := range filter {
		switch {
		case f == "#":
			return true
		case i == len(levels) || f != "+" && f != levels[i]:
			return false
		}
	}
	return len(filter) == len(levels)
}
