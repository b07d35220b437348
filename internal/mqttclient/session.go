package mqttclient

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"syscall"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Session is one connection to a broker. It is not used again after it is lost:
// the next Connect makes another.
type Session struct {
	// Resumed: the broker had kept this client's session (MQTT 3.1.1, section
	// 3.2.2.2).
	Resumed bool

	cfg    Config
	log    *slog.Logger
	opened time.Time
	client mqtt.Client
	tap    *tap

	mu      sync.Mutex
	queue   fifo // received, not yet handed out
	unacked fifo // received, in order, not yet acknowledged to the broker
	lost    error
	lostAt  time.Time
	closed  bool
	dropped int64

	arrived chan struct{} // capacity 1: the queue or lost has changed
	room    chan struct{} // capacity 1: unacked has shrunk by much
	full    time.Time     // of receive alone: since when there has been no room; zero if there is

	ended  chan struct{} // closed when the session is lost or closed
	ending sync.Once

	acking   sync.Mutex // keeps acknowledgements in order; taken before mu
	finished []*Message // of Ack; guarded by acking
}

func newSession(cfg Config, log *slog.Logger) *Session {
	return &Session{cfg: cfg, log: log, opened: time.Now(), arrived: make(chan struct{}, 1), room: make(chan struct{}, 1), ended: make(chan struct{})}
}

// open dials one of the URLs, for paho. What comes in on it goes through a tap.
func (s *Session) open(u *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
	nc, err := dial(u, o)
	if err != nil {
		return nil, err
	}
	s.tap = newTap(nc, s.receive)
	// As long as a broker waits for a client [MQTT-3.1.2-24]. paho pings a quarter of
	// the keep-alive too late at worst, so a short one gets a whole second more.
	s.tap.silence = s.cfg.KeepAlive + max(s.cfg.KeepAlive/2, time.Second)
	return s.tap, nil
}

// receive takes messages from the tap. While it does not return nothing is read,
// not even PINGRESP, so when too much is unacknowledged it waits for room only
// as long as the keep-alive allows. After that, messages of QoS 0 are dropped as
// they come, until there is room again.
func (s *Session) receive(messages []*Message) {
	now := time.Now().UTC()
	for _, m := range messages {
		m.ReceivedAt = now
	}
	for {
		n := s.enqueue(messages)
		if n > 0 {
			s.full = time.Time{}
		}
		if messages = messages[n:]; len(messages) == 0 {
			return
		}
		if s.full.IsZero() {
			s.full = now
		}
		if s.waitForRoom() {
			continue
		}
		if messages[0].QoS > 0 {
			// The broker keeps what is not acknowledged and sends it again after a
			// reconnection [MQTT-4.4.0-1].
			s.log.Warn("Messages are not finished with fast enough: dropping the connection, so that the MQTT broker keeps the rest",
				"max_unacked", s.cfg.MaxUnacked)
			s.lose(ErrLost)
			_ = s.tap.Close()
			return
		}
		s.mu.Lock()
		s.dropped++
		s.mu.Unlock()
		messages = messages[1:]
	}
}

// enqueue returns how many of the messages it took.
func (s *Session) enqueue(messages []*Message) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil || s.closed {
		return len(messages) // of no use any more: what is unacknowledged comes again
	}
	n := min(len(messages), s.cfg.MaxUnacked-s.unacked.len())
	if n <= 0 {
		return 0
	}
	s.queue.push(messages[:n])
	s.unacked.push(messages[:n])
	signal(s.arrived)
	return n
}

// To be woken for each message for which there is room would cost more than the
// message does, so the wait is for roomGoal at once, or for what there is after
// roomDelay.
const (
	roomGoal  = 64
	roomDelay = 10 * time.Millisecond
)

// waitForRoom returns true when there may be room, and false when there was none
// for half the keep-alive.
func (s *Session) waitForRoom() bool {
	wait := min(roomDelay, s.cfg.KeepAlive/2-time.Since(s.full))
	if wait <= 0 {
		return false
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case <-s.room:
	case <-timeout.C:
	}
	return true
}

// hasRoom reports whether the reader should be woken, were it waiting.
func (s *Session) hasRoom() bool {
	return s.cfg.MaxUnacked-s.unacked.len() >= min(roomGoal, (s.cfg.MaxUnacked+3)/4)
}

// Arrived tells that Pop may have something new to say.
func (s *Session) Arrived() <-chan struct{} { return s.arrived }

// Pop returns the oldest message that was not handed out yet, nil when there is
// none, and ErrLost when there is none and the connection is gone.
func (s *Session) Pop() (*Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.queue.pop(); m != nil {
		return m, nil
	}
	if s.lost != nil {
		return nil, ErrLost
	}
	return nil, nil
}

// Ack says that messages are finished with. It may be called in any order and
// from any goroutine; the broker is told in the order in which it sent
// [MQTT-4.6.0-2]. After the connection is lost it does nothing: the broker
// sends again what it was not told of.
func (s *Session) Ack(messages []*Message) {
	s.acking.Lock()
	defer s.acking.Unlock()
	s.mu.Lock()
	for _, m := range messages {
		m.done = true
	}
	finished := s.finished[:0]
	for m := s.unacked.peek(); m != nil && m.done; m = s.unacked.peek() {
		finished = append(finished, s.unacked.pop())
	}
	gone := s.lost != nil || s.closed
	if len(finished) > 0 && s.hasRoom() {
		signal(s.room)
	}
	s.mu.Unlock()
	if !gone && s.cfg.QoS > 0 { // else none of them wants an answer
		s.tap.acknowledge(finished)
	}
	clear(finished)
	s.finished = finished
}

// Lost reports whether the connection is gone.
func (s *Session) Lost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost != nil || s.closed
}

// CutShort reports whether the other side ended the connection within a time.
func (s *Session) CutShort(within time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	byPeer := errors.Is(s.lost, io.EOF) || errors.Is(s.lost, syscall.ECONNRESET) || errors.Is(s.lost, syscall.EPIPE)
	return byPeer && s.lostAt.Sub(s.opened) < within
}

// Unacked is how many messages are not yet acknowledged, and when the oldest of
// them was received: the zero time if there is none.
func (s *Session) Unacked() (n int, oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.unacked.peek(); m != nil {
		oldest = m.ReceivedAt
	}
	return s.unacked.len(), oldest
}

// TakeDropped is how many messages of QoS 0 found no room since it was last
// asked.
func (s *Session) TakeDropped() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.dropped
	s.dropped = 0
	return n
}

// lose ends the session. What the broker will send again is not handed out any
// more; the rest, which it will not, still is.
func (s *Session) lose(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil || s.closed {
		return
	}
	s.lost, s.lostAt = err, time.Now()
	s.log.Warn("Connection to the MQTT broker lost", "error", err)
	if !s.cfg.CleanSession {
		var kept fifo
		for m := s.queue.pop(); m != nil; m = s.queue.pop() {
			if m.QoS == 0 {
				kept.push([]*Message{m})
			}
		}
		s.queue = kept
	}
	s.ending.Do(func() { close(s.ended) })
	signal(s.arrived)
	signal(s.room)
}

// Close ends the connection, after the acknowledgements that are under way.
func (s *Session) Close() {
	s.mu.Lock()
	s.closed = true
	s.ending.Do(func() { close(s.ended) })
	s.mu.Unlock()
	signal(s.room) // for receive, which would keep paho from ending
	if s.tap != nil {
		s.tap.Flush()
		s.tap.polite.Store(true)
	}
	// 250 ms is what paho waits for its writer; with 0 it may cut off the last
	// acknowledgements.
	s.client.Disconnect(250)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
