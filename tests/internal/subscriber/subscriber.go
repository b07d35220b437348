// Package subscriber is a WebSocket client that comes back after each end of its
// connection, goes on where it was, and keeps the books of what it has got.
package subscriber

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Subscriber gets numbers, as a publisher.Publisher publishes them.
type Subscriber struct {
	URL        string // ws://host:port/path
	Compressed bool   // offer permessage-deflate
	Last       string // event ID of the last message that it has seen; not to be touched during Run

	mu      sync.Mutex
	conn    *websocket.Conn
	stalled chan struct{} // closed when a stall is over
	away    chan struct{} // closed when it may come back
	books   Books
	highest map[string]int // first arrivals by topic
	top     int            // the highest number, -1 before the first
	open    bool           // the last gap has no To yet
}

// Books are what has arrived.
type Books struct {
	First       int     // the first number that has arrived, -1 before
	Times       []uint8 // how often each number has arrived
	Arrived     int     // messages, repetitions included
	Twice       int     // of these, repetitions
	Earlier     int     // of these, repetitions of what was sent before it came
	OutOfOrder  int     // first arrivals behind a higher number on the same topic
	Connections int
	Gaps        []Gap  // that it was told of
	Failure     string // the first thing that should never come
}

// Gap is where the subscriber was told that it has missed something: after From,
// the highest number so far, and before To, the next higher one.
type Gap struct {
	Reason   string
	Dropped  int
	From, To int // To is -1 until it has come
}

// Envelope is what a gateway sends.
type Envelope struct {
	Messages []struct {
		EventMetadata struct {
			EventID string `json:"event_id"`
		} `json:"event_metadata"`
		Details struct {
			Topic   string `json:"mqtt_topic"`
			Payload []byte `json:"payload"`
		} `json:"details"`
	} `json:"messages"`
	Gap *struct {
		Reason  string `json:"reason"`
		Dropped int    `json:"dropped"`
	} `json:"gap"`
}

// Run connects and reads until ctx ends.
func (s *Subscriber) Run(ctx context.Context) {
	s.mu.Lock()
	s.highest, s.top, s.books.First = make(map[string]int), -1, -1
	s.mu.Unlock()
	for ctx.Err() == nil {
		s.connection(ctx)
		s.wait(ctx, func() chan struct{} { return s.away })
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// Cut ends the connection without a word. The subscriber comes back after a
// while, or at once.
func (s *Subscriber) Cut(away time.Duration) {
	back := make(chan struct{})
	time.AfterFunc(away, func() { close(back) })
	s.mu.Lock()
	s.away = back
	conn := s.conn
	s.mu.Unlock()
	if conn != nil {
		_ = conn.CloseNow()
	}
}

// Stall stops reading for a while.
func (s *Subscriber) Stall(d time.Duration) {
	over := make(chan struct{})
	time.AfterFunc(d, func() { close(over) })
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stalled = over
}

// Books returns a copy.
func (s *Subscriber) Books() Books {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.books
	b.Times = append([]uint8(nil), b.Times...)
	b.Gaps = append([]Gap(nil), b.Gaps...)
	return b
}

// Has reports whether a number has arrived.
func (s *Subscriber) Has(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n < len(s.books.Times) && s.books.Times[n] > 0
}

// Top is the highest number that has arrived, -1 before the first.
func (s *Subscriber) Top() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.top
}

// Connected reports whether there is a connection.
func (s *Subscriber) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn != nil
}

// Missing are the numbers below n that have not arrived.
func (b *Books) Missing(n int) (missing []int) {
	for i := range n {
		if i >= len(b.Times) || b.Times[i] == 0 {
			missing = append(missing, i)
		}
	}
	return missing
}

// Told reports whether a gap tells of the number n.
func (b *Books) Told(n int) bool {
	for _, g := range b.Gaps {
		if g.From < n && (n < g.To || g.To < 0) {
			return true
		}
	}
	return false
}

func (s *Subscriber) connection(ctx context.Context) {
	s.mu.Lock()
	target := s.URL
	if s.Last != "" {
		target += "?last_event_id=" + url.QueryEscape(s.Last)
	}
	s.mu.Unlock()
	options := &websocket.DialOptions{CompressionMode: websocket.CompressionDisabled}
	if s.Compressed {
		options.CompressionMode = websocket.CompressionNoContextTakeover
	}
	dialing, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(dialing, target, options)
	if err != nil {
		return
	}
	conn.SetReadLimit(-1)
	s.mu.Lock()
	s.conn = conn
	s.books.Connections++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.conn = nil
		s.mu.Unlock()
		_ = conn.CloseNow()
	}()
	for {
		s.wait(ctx, func() chan struct{} { return s.stalled })
		kind, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		s.mu.Lock()
		if err := s.take(kind, data); err != nil && s.books.Failure == "" {
			s.books.Failure = err.Error()
		}
		s.mu.Unlock()
	}
}

// wait returns when a channel that the subscriber holds is closed.
func (s *Subscriber) wait(ctx context.Context, channel func() chan struct{}) {
	s.mu.Lock()
	over := channel()
	s.mu.Unlock()
	if over == nil {
		return
	}
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// take enters a message in the books. The caller holds s.mu.
func (s *Subscriber) take(kind websocket.MessageType, data []byte) error {
	var e Envelope
	if err := json.Unmarshal(data, &e); err != nil || kind != websocket.MessageText {
		return fmt.Errorf("not an envelope: %.200q: %w", data, err)
	}
	if e.Gap != nil {
		s.books.Gaps = append(s.books.Gaps, Gap{Reason: e.Gap.Reason, Dropped: e.Gap.Dropped, From: s.top, To: -1})
		s.open = true
	}
	for _, m := range e.Messages {
		n, err := strconv.Atoi(strings.TrimRight(string(m.Details.Payload), " "))
		if err != nil {
			return fmt.Errorf("payload %q was never sent", m.Details.Payload)
		}
		s.Last = m.EventMetadata.EventID
		s.enter(m.Details.Topic, n)
	}
	return nil
}

func (s *Subscriber) enter(topic string, n int) {
	b := &s.books
	if b.Arrived++; b.First < 0 {
		b.First = n
	}
	for len(b.Times) <= n {
		b.Times = append(b.Times, 0)
	}
	if b.Times[n] > 0 {
		b.Twice++
	} else if n < b.First {
		b.Earlier++ // that others have got before
	} else if highest, ok := s.highest[topic]; ok && n < highest {
		b.OutOfOrder++
	}
	b.Times[n] = min(b.Times[n], 254) + 1
	s.highest[topic] = max(s.highest[topic], n)
	if n > s.top {
		if s.open {
			for i := range b.Gaps {
				if b.Gaps[i].To < 0 {
					b.Gaps[i].To = n
				}
			}
			s.open = false
		}
		s.top = n
	}
}
