package tests

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// swarm is many clients that come back whenever they lose their connection, and
// resume where they were.
type swarm struct {
	url   string
	all   []*swarmClient
	known sync.Map // text of an envelope: *parsedEnvelope; all clients get the same
	ended sync.WaitGroup
}

// swarmClient is one of them. What it has got is in mu's care.
type swarmClient struct {
	connections atomic.Int64
	restarts    atomic.Int64 // ends with 1012
	open        atomic.Bool

	mu       sync.Mutex
	got      map[int]int // how often each number has come
	distinct int
	highest  [publishingDevices]int // by device
	disorder int                    // numbers that came for the first time behind a higher one of their device
	gaps     int
	lastID   string
	connID   string
	at       time.Time // of the last message
}

type parsedEnvelope struct {
	numbers []int
	lastID  string
	gap     bool
}

// startSwarm connects n clients, and waits until each has been connected.
func startSwarm(t *testing.T, n int, url string) *swarm {
	t.Helper()
	s := &swarm{url: url}
	ctx, cancel := context.WithCancel(context.Background())
	for range n {
		c := &swarmClient{got: map[int]int{}}
		s.all = append(s.all, c)
		s.ended.Go(func() { s.run(ctx, c) })
	}
	t.Cleanup(func() {
		cancel()
		s.ended.Wait()
	})
	eventuallyWithin(t, 3*patience, "all clients are connected", func() bool { return s.count((*swarmClient).isOpen) == n })
	return s
}

func (c *swarmClient) isOpen() bool { return c.open.Load() }

func (s *swarm) count(is func(*swarmClient) bool) (n int) {
	for _, c := range s.all {
		if is(c) {
			n++
		}
	}
	return n
}

// run keeps a client connected.
func (s *swarm) run(ctx context.Context, c *swarmClient) {
	for ctx.Err() == nil {
		err := s.connection(ctx, c)
		c.open.Store(false)
		if websocket.CloseStatus(err) == websocket.StatusServiceRestart {
			c.restarts.Add(1)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (s *swarm) connection(ctx context.Context, c *swarmClient) error {
	c.mu.Lock()
	last := c.lastID
	c.mu.Unlock()
	dialing, cancel := context.WithTimeout(ctx, patience)
	ws, res, err := websocket.Dial(dialing, s.url+"?last_event_id="+url.QueryEscape(last), nil)
	cancel()
	if err != nil {
		return err
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(-1)
	c.connections.Add(1)
	c.mu.Lock()
	c.connID = res.Header.Get(headerConnectionID)
	c.mu.Unlock()
	c.open.Store(true)
	for {
		_, text, err := ws.Read(ctx)
		if err != nil {
			return err
		}
		e, err := s.parse(text)
		if err != nil {
			return err
		}
		c.take(e)
	}
}

func (s *swarm) parse(text []byte) (*parsedEnvelope, error) {
	if e, ok := s.known.Load(string(text)); ok {
		return e.(*parsedEnvelope), nil
	}
	var envelope struct {
		Messages []struct {
			Metadata struct {
				ID string `json:"event_id"`
			} `json:"event_metadata"`
			Details struct{ Payload []byte }
		}
		Gap *struct{}
	}
	if err := json.Unmarshal(text, &envelope); err != nil {
		return nil, err
	}
	e := &parsedEnvelope{gap: envelope.Gap != nil}
	for _, m := range envelope.Messages {
		n, err := strconv.Atoi(string(m.Details.Payload))
		if err != nil {
			return nil, errors.New("a payload that was never sent: " + string(m.Details.Payload))
		}
		e.numbers, e.lastID = append(e.numbers, n), m.Metadata.ID
	}
	s.known.Store(string(text), e)
	return e, nil
}

func (c *swarmClient) take(e *parsedEnvelope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = time.Now()
	if e.gap {
		c.gaps++
	}
	for _, n := range e.numbers {
		if c.got[n]++; c.got[n] == 1 {
			c.distinct++
			highest := &c.highest[n%publishingDevices]
			if n < *highest {
				c.disorder++
			}
			*highest = max(*highest, n)
		}
	}
	if e.lastID != "" {
		c.lastID = e.lastID
	}
}

// complete waits until every client has every message, and says what each was spared:
// no gap was told, and those of a device came in order.
func (s *swarm) complete(t *testing.T, messages int) {
	t.Helper()
	eventuallyWithin(t, 3*time.Minute, "every client has every message", func() bool {
		return s.count(func(c *swarmClient) bool { n, _, _ := c.has(); return n == messages }) == len(s.all)
	})
	again, gaps, disorder := 0, 0, 0
	for _, c := range s.all {
		_, a, g := c.has()
		again, gaps, disorder = again+a, gaps+g, disorder+c.disordered()
	}
	t.Logf("%d clients got %d messages each; %d deliveries were repetitions, %d connections", len(s.all), messages, again, s.connections())
	if gaps > 0 || disorder > 0 {
		t.Errorf("%d gaps were told, %d messages came behind later ones of their device", gaps, disorder)
	}
}

// has reports how many distinct numbers have come, how many came again, and how
// often a gap was told.
func (c *swarmClient) has() (distinct, again, gaps int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, times := range c.got {
		again += times - 1
	}
	return c.distinct, again, c.gaps
}

// disordered is how many messages came behind later ones of their device.
func (c *swarmClient) disordered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.disorder
}

// id is the ID of the last connection.
func (c *swarmClient) id() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connID
}
