package mqttclient

import (
	"math"
	"time"
)

// flow finds out how many messages of QoS 1 and 2 the broker sends before it waits
// for acknowledgements. MQTT 3.1.1 lets each broker choose, and has no way to ask:
// Mosquitto takes 20, RabbitMQ 10. All that tells is that messages come one close
// behind the other, then none although many are on their way, and then the next
// one as soon as some are acknowledged.
type flow struct {
	answer time.Duration // how long the broker took for an answer

	out   int           // received and not acknowledged
	peak  int           // the most of them so far
	last  time.Time     // when one was received
	moved time.Time     // when one was received or acknowledged
	gap   time.Duration // from one to the next, smoothed
	tries int           // stalls at this peak that were none

	stalled int       // how many there were when acknowledgements ended what may have been a stall; else 0
	ended   time.Time // when that was
	follow  int       // received since
	limit   int       // how many the broker sends, as it seems; 0 while it is not known
	seen    int       // the last limit that has shown for sure
}

const (
	// Where silence is taken for a stall by mistake, a batch goes that could have
	// grown. Fewer than fewOut are what no broker takes by default, and more probably
	// chance.
	leastSilence  = 4 * time.Millisecond
	silenceOfFew  = 250 * time.Millisecond
	silenceOfOne  = time.Second
	fewOut        = 10
	silenceInGaps = 8
	belowPeak     = 5
	// soon is how soon a broker that has waited goes on, beside the way there and back.
	soon = 20 * time.Millisecond

	never = time.Duration(math.MaxInt64)
)

// silence is how long nothing must come for it to be taken for a stall.
func (f *flow) silence() time.Duration {
	least := leastSilence
	switch {
	case f.out < 2:
		least = silenceOfOne
	case f.out < fewOut:
		least = silenceOfFew
	}
	return max(least, silenceInGaps*f.gap) << min(f.tries, 10)
}

func (f *flow) received(now time.Time, n int) {
	if n == 0 {
		return
	}
	proved := f.stalled > 0 && now.Sub(f.ended) <= soon+2*f.answer
	switch {
	case proved:
		f.limit, f.peak = f.stalled, f.stalled
		if f.follow += n; f.follow >= min(2, f.stalled) { // as those that were held back do
			f.seen, f.stalled = f.stalled, 0
		}
	case f.stalled > 0 && f.follow == 0:
		f.tries++
		fallthrough
	default:
		f.stalled = 0
	}
	if !f.last.IsZero() && !proved { // a stall says nothing about the gaps
		f.gap += (now.Sub(f.last) - f.gap) / 4
	}
	for range min(n-1, 40) {
		f.gap -= f.gap / 4
	}
	f.last, f.moved = now, now
	if f.out += n; f.out > f.peak {
		f.peak, f.tries = f.out, 0
	}
	if f.limit > 0 && f.out > f.limit {
		f.limit = 0 // so it is not
	}
}

// acknowledged; mine: it was not the broker that did not send, but we that did not
// read.
func (f *flow) acknowledged(now time.Time, n int, mine bool) {
	if n == 0 {
		return
	}
	if !mine && f.wait(now) <= 0 {
		f.stalled, f.ended, f.follow = f.out, now, 0
	}
	f.out -= n
	f.moved = now
}

// wait is for how long from now nothing must come for it to be taken that nothing
// will before something is acknowledged: 0 or less if that is so now.
func (f *flow) wait(now time.Time) time.Duration {
	switch {
	case f.out > 0 && f.out == f.limit:
		return 0
	case f.out == 0:
		return never
	case f.out < f.peak: // it has sent more before, and may wait for less now: Mosquitto does either
		return belowPeak*f.silence() - now.Sub(f.moved)
	}
	return f.silence() - now.Sub(f.moved)
}
