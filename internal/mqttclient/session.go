package mqttclient

import (
	"log/slog"
	"net"
	"net/url"
	"sync"
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
	client mqtt.Client
	tap    *tap

	mu      sync.Mutex
	queue   []*Message // received, not yet handed out
	unacked []*Message // received, in order, not yet acknowledged to the broker
	lost    error
	closed  bool
	dropped int64

	arrived chan struct{} // capacity 1: the queue or lost has changed
	room    chan struct{} // capacity 1: unacked has shrunk

	acking sync.Mutex // keeps acknowledgements in order; taken before mu
}

func newSession(cfg Config, log *slog.Logger) *Session {
	return &Session{cfg: cfg, log: log, arrived: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// open dials one of the URLs, for paho. What comes in on it goes through a tap.
func (s *Session) open(u *url.URL, o mqtt.ClientOptions) (net.Conn, error) {
	nc, err := dial(u, o)
	if err != nil {
		return nil, err
	}
	s.tap = newTap(nc, s.receive)
	return s.tap, nil
}

// receive takes a message from the tap. While it does not return nothing is read,
// not even PINGRESP, so when too much is unacknowledged it waits for room only
// as long as the keep-alive allows.
func (s *Session) receive(m *Message) {
	m.ReceivedAt = time.Now().UTC()
	if s.enqueue(m) || s.waitForRoom(m) {
		return
	}
	if m.QoS == 0 {
		s.mu.Lock()
		s.dropped++
		s.mu.Unlock()
		return
	}
	// The broker keeps what is not acknowledged and sends it again after a
	// reconnection [MQTT-4.4.0-1].
	s.log.Warn("Messages are not finished with fast enough: dropping the connection, so that the MQTT broker keeps the rest",
		"max_unacked", s.cfg.MaxUnacked)
	s.lose(ErrLost)
	_ = s.tap.Close()
}

func (s *Session) enqueue(m *Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil || s.closed {
		return true // of no use any more: what is unacknowledged comes again
	}
	if len(s.unacked) >= s.cfg.MaxUnacked {
		return false
	}
	s.queue = append(s.queue, m)
	s.unacked = append(s.unacked, m)
	signal(s.arrived)
	return true
}

func (s *Session) waitForRoom(m *Message) bool {
	timeout := time.NewTimer(s.cfg.KeepAlive / 2)
	defer timeout.Stop()
	for {
		select {
		case <-s.room:
			if s.enqueue(m) {
				return true
			}
		case <-timeout.C:
			return false
		}
	}
}

// Arrived tells that Pop may have something new to say.
func (s *Session) Arrived() <-chan struct{} { return s.arrived }

// Pop returns the oldest message that was not handed out yet, nil when there is
// none, and ErrLost when there is none and the connection is gone.
func (s *Session) Pop() (*Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		if s.lost != nil {
			return nil, ErrLost
		}
		return nil, nil
	}
	m := s.queue[0]
	s.queue[0] = nil
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil // the array behind it can go
	}
	return m, nil
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
	n := 0
	for n < len(s.unacked) && s.unacked[n].done {
		n++
	}
	finished := s.unacked[:n]
	if s.unacked = s.unacked[n:]; len(s.unacked) == 0 {
		s.unacked = nil
	}
	gone := s.lost != nil || s.closed
	s.mu.Unlock()
	if n > 0 {
		signal(s.room)
	}
	if !gone {
		s.tap.acknowledge(finished)
	}
	clear(finished) // their array is still in use, further on
}

// Lost reports whether the connection is gone.
func (s *Session) Lost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost != nil || s.closed
}

// Unacked is how many messages are not yet acknowledged.
func (s *Session) Unacked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.unacked)
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
	s.lost = err
	s.log.Warn("Connection to the MQTT broker lost", "error", err)
	if !s.cfg.CleanSession {
		kept := s.queue[:0]
		for _, m := range s.queue {
			if m.QoS == 0 {
				kept = append(kept, m)
			}
		}
		clear(s.queue[len(kept):])
		s.queue = kept
	}
	signal(s.arrived)
	signal(s.room)
}

// Close ends the connection, after the acknowledgements that are under way.
func (s *Session) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	signal(s.room) // for receive, which would keep paho from ending
	if s.tap != nil {
		s.tap.Flush()
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
