package overview

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Trigger is what went through a trigger, or another stream, in a period. Rates are by the second.
type Trigger struct {
	Received  figure `json:"received"`
	Envelopes figure `json:"envelopes"`
	Failed    figure `json:"failed"`      // given up, or an error of the output, after which it is tried again
	Dropped   figure `json:"dropped"`     // for want of room, or of a connection
	Unacked   figure `json:"unacked"`     // messages now
	Lag       figure `json:"lag_seconds"` // age of the oldest of them now
	Connected bool   `json:"connected"`   // to its MQTT broker
}

// Route is what went out on a route in a period. Rates are by the second.
type Route struct {
	Connections figure `json:"connections"` // now
	Envelopes   figure `json:"envelopes"`
	Deliveries  figure `json:"deliveries"`
	Bytes       figure `json:"bytes"`
	Dropped     figure `json:"dropped"`
	Queued      figure `json:"queued_bytes"` // now, for the connection for which the most wait
	Latency     figure `json:"latency_ms"`   // mean of the period
	Refused     figure `json:"refused"`
	ClosedSlow  figure `json:"closed_slow"`
	Gaps        figure `json:"gaps"` // that clients were told of
}

// figure is small: an hour of them is kept.
type figure float32

// MarshalJSON implements json.Marshaler. Three digits behind the point are enough.
func (f figure) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, math.Round(float64(f)*1000)/1000, 'f', -1, 64), nil
}

// Sample is one period.
type Sample struct {
	At       time.Time          `json:"at"` // its end
	Triggers map[string]Trigger `json:"triggers"`
	Routes   map[string]Route   `json:"routes"` // by gateway and path, with a space between
}

const (
	// Period is how long a sample is.
	Period = 5 * time.Second
	// kept is how many samples are: an hour.
	kept = int(time.Hour / Period)
	// maxSeries bounds how many triggers, and how many routes, are told apart.
	maxSeries = 64
	// others is the name of what is beyond.
	others = "(others)"
)

// history is the samples of the last hour: a ring for each trigger and each route, and one of their times.
type history struct {
	n        int // of all samples ever taken
	at       [kept]time.Time
	triggers map[string]*series[Trigger]
	routes   map[string]*series[Route]
}

// series is one of them.
type series[T any] struct {
	values [kept]T
	has    [kept]bool
	last   int // the number of the newest sample that it is in
}

func newHistory() *history {
	return &history{triggers: map[string]*series[Trigger]{}, routes: map[string]*series[Route]{}}
}

// add adds a sample.
func (h *history) add(s Sample) {
	i := h.n % kept
	h.at[i] = s.At
	put(h.triggers, s.Triggers, h.n)
	put(h.routes, s.Routes, h.n)
	h.n++
}

// put adds the values of the nth sample, and forgets series that have none of the last hour any more.
func put[T any](all map[string]*series[T], values map[string]T, n int) {
	i := n % kept
	for name, v := range values {
		if all[name] == nil {
			if len(all) == maxSeries {
				forget(all, values)
			}
			all[name] = new(series[T])
		}
		all[name].values[i], all[name].has[i], all[name].last = v, true, n
	}
	for name, one := range all {
		if _, ok := values[name]; !ok {
			one.has[i] = false
		}
		if n-one.last >= kept {
			delete(all, name)
		}
	}
}

// forget makes room: it drops the series that ended first. One has ended, since values are not more than may be kept.
func forget[T any](all map[string]*series[T], values map[string]T) {
	oldest := ""
	for name, one := range all {
		if _, ok := values[name]; !ok && (all[oldest] == nil || one.last < all[oldest].last) {
			oldest = name
		}
	}
	delete(all, oldest)
}

// since returns the samples from the nth on, as far as they are kept.
func (h *history) since(n int) []Sample {
	samples := []Sample{}
	for n = max(n, 0, h.n-kept); n < h.n; n++ {
		i := n % kept
		samples = append(samples, Sample{At: h.at[i], Triggers: at(h.triggers, i), Routes: at(h.routes, i)})
	}
	return samples
}

func at[T any](all map[string]*series[T], i int) map[string]T {
	values := map[string]T{}
	for name, one := range all {
		if one.has[i] {
			values[name] = one.values[i]
		}
	}
	return values
}

// sampleOf is what has happened from one reading to the next. Connected says which triggers have a connection now.
func sampleOf(from, to *reading, connected map[string]bool, at time.Time, took time.Duration) Sample {
	s := Sample{At: at, Triggers: map[string]Trigger{}, Routes: map[string]Route{}}
	rate := func(before, now float64) figure { return figure(rise(before, now) / took.Seconds()) }
	for i, stream := range slices.Sorted(maps.Keys(to.triggers)) {
		now, before := to.triggers[stream], from.countedOf(stream)
		one := Trigger{
			Received: rate(before.received, now.received), Envelopes: rate(before.envelopes, now.envelopes),
			Failed:  rate(before.failed+before.givenUp, now.failed+now.givenUp),
			Dropped: rate(before.dropped+before.nobody, now.dropped+now.nobody),
			Unacked: figure(now.unacked), Lag: figure(now.lag), Connected: connected[stream],
		}
		if i < maxSeries-1 || len(to.triggers) == maxSeries {
			s.Triggers[stream] = one
			continue
		}
		sum := s.Triggers[others]
		sum.Received += one.Received
		sum.Envelopes += one.Envelopes
		sum.Failed += one.Failed
		sum.Dropped += one.Dropped
		sum.Unacked += one.Unacked
		sum.Lag = max(sum.Lag, one.Lag)
		sum.Connected = (i == maxSeries-1 || sum.Connected) && one.Connected
		s.Triggers[others] = sum
	}
	paths := slices.SortedFunc(maps.Keys(to.routes), func(a, b route) int { return strings.Compare(a.String(), b.String()) })
	for i, r := range paths {
		now, before := to.routes[r], from.servedOf(r)
		one := Route{
			Connections: figure(now.connections), Envelopes: rate(before.envelopes, now.envelopes),
			Deliveries: rate(before.deliveries, now.deliveries), Bytes: rate(before.bytes, now.bytes),
			Dropped: rate(before.dropped, now.dropped), Queued: figure(now.queued),
			Refused: rate(total(before.refused), total(now.refused)), ClosedSlow: rate(before.slow, now.slow),
			Gaps: rate(total(before.gaps), total(now.gaps)),
		}
		if n := rise(before.of, now.of); n > 0 {
			one.Latency = figure(rise(before.delay, now.delay) / n * 1000)
		}
		name := r.String()
		if i >= maxSeries-1 && len(paths) != maxSeries {
			name = others
		}
		s.Routes[name] = s.Routes[name].plus(one)
	}
	return s
}

// plus is both together.
func (r Route) plus(o Route) Route {
	return Route{
		Connections: r.Connections + o.Connections, Envelopes: r.Envelopes + o.Envelopes, Deliveries: r.Deliveries + o.Deliveries,
		Bytes: r.Bytes + o.Bytes, Dropped: r.Dropped + o.Dropped, Queued: max(r.Queued, o.Queued), Latency: max(r.Latency, o.Latency),
		Refused: r.Refused + o.Refused, ClosedSlow: r.ClosedSlow + o.ClosedSlow, Gaps: r.Gaps + o.Gaps,
	}
}

// rise is how much a counter has risen. One that has fallen has begun anew.
func rise(before, now float64) float64 {
	if now < before {
		return now
	}
	return now - before
}

func total(all map[string]float64) (sum float64) {
	for _, v := range all {
		sum += v
	}
	return sum
}
