package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/iotcast/iotcast/tests/internal/publisher"
)

// live is the part of the soak that tries live state: clients that watch, choose anew,
// are cut off and resume, and stall, while a broker and an iotcast of their own have
// no faults. So it is known of each message whose it is.
type live struct {
	publisher *publisher.Publisher
	node      *node
	viewers   []*viewer
	witness   map[string]*viewer // by path: one that gets everything, and is never disturbed
	stop      context.CancelFunc // ends the viewers' mischief
	published chan error
	leave     context.CancelFunc
	done      sync.WaitGroup
}

const (
	liveDevices = 150
	liveClients = 200
	liveSecret  = "a secret of the soak of thirty-two bytes"
)

// The paths of the node of live state.
const (
	pathOpen = "/open" // what is watched is the client's choice
	pathOwn  = "/own"  // within the claim of its token
	pathSlow = "/slow" // with slow_consumer: latest
)

// liveTopics are two of each device.
func liveTopics() (all []string) {
	for i := range liveDevices {
		device := "$devices/" + liveDevice(i)
		all = append(all, device+"/events/reading", device+"/events/alarm")
	}
	return all
}

func liveDevice(i int) string { return fmt.Sprintf("meter%03d", i) }

func (s *site) startLive(iotcast string) error {
	const config = nodeRoot + `
    routes:
      - path: /open
        watch: {}
        latest: { by: topic }
        history: { max_messages: 120 }
        sse: true
      - path: /own
        watch: { claim: devices }
        latest: { by: topic }
        history: { max_messages: 5000 }
        sse: true
        tokens: { secret: %q }
      - path: /slow
        watch: {}
        latest: { by: topic }
        history: { max_messages: 5000 }
        slow_consumer: latest
        sse: true
input:
  iot_mqtt:
    urls: [ "tcp://%s" ]
    registry_id: home
    topics: [ $devices/+/events/# ]
    client_id: soak-live
    clean_session: false
    strict_order: true # what resumes goes on behind a message of any topic
    batching: { count: 5, period: 20ms }
pipeline: { threads: 1, processors: [ { iot_trigger: {} } ] }
output:
  broker:
    outputs:
      - websocket_broadcast: { gateway: main, path: /open }
      - websocket_broadcast: { gateway: main, path: /own }
      - websocket_broadcast: { gateway: main, path: /slow }
`
	broker, address, err := s.startMosquitto("live-mosquitto")
	if err != nil {
		return err
	}
	s.liveMosquitto, s.liveBroker = broker, address
	n, err := newNode()
	if err != nil {
		return err
	}
	file := filepath.Join(s.dir, "live.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, n.http, n.gateway, liveSecret, address), 0o600); err != nil {
		return err
	}
	n.program = s.program("live", nil, iotcast, "run", file)
	s.live = n
	return n.launch()
}

// startLive starts the clients and what they get.
func (s *soak) startLive() *live {
	ctx, leave := context.WithCancel(context.Background())
	calm, stop := context.WithCancel(ctx)
	l := &live{node: s.site.live, witness: map[string]*viewer{}, stop: stop, leave: leave, published: make(chan error, 1)}
	l.publisher = &publisher.Publisher{
		Addr: s.site.liveBroker, Topics: liveTopics(), Window: 100, Size: 200,
		Interval: time.Second / time.Duration(2*s.rate),
	}
	for _, path := range []string{pathOpen, pathOwn, pathSlow} {
		v := l.viewer(path, s.random.Uint64(), kindWitness)
		l.witness[path] = v
	}
	for i := len(l.viewers); i < liveClients; i++ {
		path := []string{pathOpen, pathOwn, pathSlow}[i%3]
		l.viewer(path, s.random.Uint64(), kinds[i/3%len(kinds)])
	}
	for _, v := range l.viewers {
		l.done.Go(func() { v.run(ctx, calm) })
	}
	go func() { l.published <- l.publisher.Run(ctx) }()
	return l
}

// viewer makes one of the clients.
func (l *live) viewer(path string, seed uint64, k kind) *viewer {
	v := &viewer{
		live: l, path: path, kind: k, random: rand.New(rand.NewPCG(seed, 0)),
		name: fmt.Sprintf("live-%d (%s of %s)", len(l.viewers)+1, k.name, path),
	}
	if path == pathOwn {
		v.claim = v.bounds()
	}
	l.viewers = append(l.viewers, v)
	return v
}

// finish ends the mischief, and returns when every client has the last of all that it
// watches, or an error that tells of those that have not.
func (l *live) finish() error {
	l.stop()
	l.publisher.Stop()
	if err := <-l.published; err != nil {
		return err
	}
	defer l.end()
	last, deadline := l.publisher.Accepted()-1, time.Now().Add(settling)
	var errs []error
	for _, v := range l.viewers {
		for !v.has(last) {
			if time.Now().After(deadline) {
				errs = append(errs, fmt.Errorf("%s has not the last value of %s", v.name, v.lacks(last)))
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return errors.Join(errs...)
}

// end ends the clients.
func (l *live) end() {
	l.leave()
	l.done.Wait()
}

// settle prints the ledger by what the clients are like, and returns what is wrong.
func (l *live) settle() error {
	fmt.Printf("\nLive state: published %d of %d topics.\n\n", l.publisher.Accepted(), 2*liveDevices)
	type row struct{ clients, connections, resumed, choices, delivered, outside, missing, again, told int }
	rows, names := map[string]*row{}, []string{}
	var errs []error
	for _, v := range l.viewers {
		name := v.path + ", " + v.kind.name
		r := rows[name]
		if r == nil {
			r = new(row)
			rows[name], names = r, append(names, name)
		}
		a := &v.account
		r.clients++
		r.connections += v.connections
		r.resumed += v.resumed
		r.choices += v.choices
		r.delivered += a.delivered
		r.outside += a.outside
		r.missing += a.missing
		r.again += a.again
		r.told += a.told
		if a.failure != "" {
			errs = append(errs, fmt.Errorf("%s: %s", v.name, a.failure))
		}
	}
	slices.Sort(names)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "path, what is watched\tclients\tconnections\tresumed\tchoices\tdelivered\tnot chosen\tmissing\trepeated or out of order\tgaps told\t")
	for _, name := range names {
		r := rows[name]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", name, r.clients, r.connections, r.resumed, r.choices, r.delivered,
			r.outside, r.missing, r.again, r.told)
	}
	_ = w.Flush()
	return errors.Join(errs...)
}
