// Package overview is what flows through the process and what is wrong with it: samples of the last hour (samples.go), made of
// the process's own metrics (reading.go), and findings in words (findings.go). It knows nothing of Benthos.
package overview

import (
	"context"
	"sync"
	"time"
)

// Config is what an Overview looks at.
type Config struct {
	// Metrics returns those of the process in Prometheus' text format, or why there are none.
	Metrics func(context.Context) ([]byte, error)
	// Facts returns what metrics do not say.
	Facts func(context.Context) Facts
}

// Facts are what metrics do not say.
type Facts struct {
	Streams     bool              // of this process come and go, so Running counts
	Running     map[string]bool   // IDs of streams
	Failed      map[string]string // triggers whose stream cannot be made, and why
	Unkept      bool              // what the management API makes is lost with the process
	Unwritten   string            // why the last change of the management API could not be written to disk
	Open        string            // the address of the management API, where it is reached by other machines and without TLS
	Unreachable []string          // nodes of the cluster that were asked for their connections, and did not answer

	Triggers     map[string]bool    // the streams that are triggers, by their IDs
	Disconnected map[string]string  // streams that have no connection now, and why; nil: it is not known, so metrics tell
	Gateways     map[string]Gateway // those that there are, by their labels; nil: it is not known, so metrics tell
}

// Gateway is one as it is configured now.
type Gateway struct {
	Failed                      string // why it does not listen; empty: it does
	Connections, MaxConnections int    // 0 at most: no limit
	Routes                      map[string]RouteFacts
}

// RouteFacts is a route as it is configured now.
type RouteFacts struct {
	Connections, MaxConnections int   // 0 at most: no limit
	QueueBytes                  int64 // that may wait for a connection
	Keeps                       bool  // a history
}

// Overview takes samples from Start to Close. Its methods may be called concurrently.
type Overview struct {
	cfg   Config
	stop  context.CancelFunc
	ended sync.WaitGroup

	last      *reading             // of run alone
	lastAt    time.Time            // of run alone
	connected map[string]bool      // of run alone: triggers, to their MQTT brokers
	recent    recent               // of run alone
	since     map[string]time.Time // of run alone: when findings were first made, by their IDs

	mu       sync.Mutex
	history  *history      // guarded by mu
	findings []Finding     // guarded by mu
	news     chan struct{} // closed by the next sample; guarded by mu
}

// Start begins to take samples.
func Start(cfg Config) *Overview {
	o := &Overview{
		cfg: cfg, connected: map[string]bool{}, recent: recent{}, since: map[string]time.Time{},
		history: newHistory(), findings: []Finding{}, news: make(chan struct{}),
	}
	var ctx context.Context
	ctx, o.stop = context.WithCancel(context.Background())
	o.ended.Go(func() { o.run(ctx) })
	return o
}

// Close ends it. Who waits in Next is not told.
func (o *Overview) Close() {
	o.stop()
	o.ended.Wait()
}

// Next returns the samples from the nth on, of those that are kept, all findings, and the number of the sample to come. Below 0
// it returns at once what there is; else it waits for a sample, or fails with the context's error.
func (o *Overview) Next(ctx context.Context, n int) ([]Sample, []Finding, int, error) {
	for {
		o.mu.Lock()
		samples, findings, next, news := o.history.since(max(n, 0)), o.findings, o.history.n, o.news
		o.mu.Unlock()
		if n < 0 || next > n {
			return samples, findings, next, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, nil, n, ctx.Err()
		}
	}
}

// run takes the first reading at once, so that there is a sample after one period.
func (o *Overview) run(ctx context.Context) {
	tick := time.NewTicker(Period)
	defer tick.Stop()
	for {
		o.take(ctx, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// take takes a sample.
func (o *Overview) take(ctx context.Context, at time.Time) {
	facts := o.cfg.Facts(ctx)
	text, err := o.cfg.Metrics(ctx)
	var now *reading
	if err == nil {
		now, err = read(text)
	}
	if ctx.Err() != nil {
		return
	}
	sample := Sample{At: at.UTC(), Triggers: map[string]Trigger{}, Routes: map[string]Route{}}
	if err == nil {
		now.keep(facts)
		o.follow(now, facts.Disconnected)
	}
	if err == nil && o.last != nil {
		sample = sampleOf(o.last, now, o.connected, at.UTC(), at.Sub(o.lastAt))
		o.recent.add(o.last, now)
	}
	findings := o.dated(find(now, err, o.connected, o.recent, facts), at)
	first := o.last == nil
	o.last, o.lastAt = now, at

	o.mu.Lock()
	defer o.mu.Unlock()
	o.findings = findings
	if first && err == nil { // there is nothing to compare it with
		return
	}
	o.history.add(sample)
	close(o.news)
	o.news = make(chan struct{})
}

// follow notes which triggers are connected. Their counters go on when a stream is made anew, so it is changes that count.
func (o *Overview) follow(now *reading, disconnected map[string]string) {
	for stream := range o.connected {
		if now.triggers[stream] == nil {
			delete(o.connected, stream)
		}
	}
	for stream, c := range now.triggers {
		before := new(counted)
		if o.last != nil {
			before = o.last.countedOf(stream)
		}
		_, known := disconnected[stream]
		switch {
		case disconnected != nil:
			o.connected[stream] = !known
		case c.up != before.up:
			o.connected[stream] = true
		case c.lost != before.lost, c.refused != before.refused:
			o.connected[stream] = false
		}
	}
}

// dated says since when findings are there.
func (o *Overview) dated(all []Finding, at time.Time) []Finding {
	since := map[string]time.Time{}
	for i := range all {
		id := all[i].ID
		since[id] = at.UTC()
		if before, ok := o.since[id]; ok {
			since[id] = before
		}
		all[i].Since = since[id]
	}
	o.since = since
	return all
}
