package mqttclient

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/iotcast/iotcast/internal/socketerr"
)

// Session is one connection to a broker. It is not used again after it is lost:
// the next Connect makes another.
type Session struct {
	// Resumed: the broker had kept this client's session (MQTT 3.1.1, section
	// 3.2.2.2).
	Resumed bool

	client   *Client
	opened   time.Time
	protocol protocol
	tap      *tap
	socket   io.Closer // of the tap, below TLS and WebSocket

	mu      sync.Mutex
	queue   fifo // received, not yet handed out
	unacked fifo // received, in order, not yet acknowledged to the broker
	flow    flow
	lost    error
	lostAt  time.Time
	closed  bool
	dropped int64

	arrived chan struct{} // capacity 1: the queue, lost or the room has changed
	full    time.Time     // of receive alone: since when there has been no room; zero if there is

	ended  chan struct{} // closed when the session is lost or closed
	ending sync.Once

	acking   sync.Mutex // keeps acknowledgements in order; taken before mu
	finished []*Message // of Ack; guarded by acking
}

func newSession(c *Client) *Session {
	return &Session{client: c, opened: time.Now(), arrived: make(chan struct{}, 1), ended: make(chan struct{})}
}

// receive takes messages from the tap. While it does not return nothing is read,
// not even PINGRESP, so when too much is unacknowledged it waits for room only
// as long as the keep-alive allows. After that it drops messages as they come, until
// there is room again, or else the connection, if the broker keeps what is not
// acknowledged and sends it again after a reconnection [MQTT-4.4.0-1]: at QoS 1 and
// 2, and for a session that is not clean.
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
			signal(s.arrived)
		}
		if s.waitForRoom() {
			continue
		}
		if messages[0].QoS > 0 && !s.client.cfg.CleanSession {
			s.client.log.Warn("Messages are not finished with fast enough: dropping the connection, so that the MQTT broker keeps the rest",
				"max_unacked", s.client.cfg.MaxUnacked)
			s.lose(ErrLost)
			_ = s.tap.Close()
			return
		}
		s.drop(messages[0])
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
	n := min(len(messages), s.client.room())
	if n <= 0 {
		return 0
	}
	owing := 0
	for _, m := range messages[:n] {
		m.held = true
		if m.QoS > 0 {
			owing++
		}
	}
	s.client.held.Add(int64(n))
	s.queue.push(messages[:n])
	s.unacked.push(messages[:n])
	s.flow.received(time.Now(), owing)
	signal(s.arrived)
	return n
}

// drop counts a message. It has to be acknowledged all the same, for the broker to
// go on, and in its turn [MQTT-4.6.0-2]; that holds no more than its identifier, of
// which there are 65,535.
func (s *Session) drop(m *Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped++
	if m.QoS > 0 {
		s.unacked.push([]*Message{{QoS: m.QoS, ID: m.ID, ReceivedAt: m.ReceivedAt, done: true}})
		s.flow.received(time.Now(), 1)
	}
}

// release gives the room of a message back. Whoever calls it holds mu.
func (s *Session) release(m *Message) {
	if m.held {
		m.held = false
		s.client.held.Add(-1)
	}
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
	wait := min(roomDelay, s.client.cfg.KeepAlive/2-time.Since(s.full))
	if wait <= 0 {
		return false
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case <-s.client.freed:
	case <-timeout.C:
	}
	return true
}

// hasRoom reports whether the reader should be woken, were it waiting.
func (c *Client) hasRoom() bool { return c.room() >= min(roomGoal, (c.cfg.MaxUnacked+3)/4) }

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
// [MQTT-4.6.0-2]. After the connection is lost it only makes room: the broker
// sends again what it was not told of.
func (s *Session) Ack(messages []*Message) {
	s.acking.Lock()
	defer s.acking.Unlock()
	s.mu.Lock()
	gone := s.lost != nil || s.closed
	for _, m := range messages {
		m.done = true
		if gone {
			s.release(m)
		}
	}
	finished := s.finished[:0]
	full, owed := s.client.room() <= 0, 0
	for m := s.unacked.peek(); m != nil && m.done; m = s.unacked.peek() {
		finished = append(finished, s.unacked.pop())
		s.release(m)
		if m.QoS > 0 {
			owed++
		}
	}
	s.flow.acknowledged(time.Now(), owed, full)
	s.mu.Unlock()
	if s.client.hasRoom() {
		signal(s.client.freed)
	}
	if !gone && s.client.cfg.QoS > 0 { // else none of them wants an answer
		s.tap.acknowledge(finished)
	}
	clear(finished)
	s.finished = finished
}

// Stall is for how long from now nothing must come for it to be taken that nothing
// can before something is acknowledged, for want of room here or because the broker
// waits: 0 or less if that is so now.
func (s *Session) Stall() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.queue.len() > 0:
		return never
	case s.client.room() <= 0:
		return 0
	}
	return s.flow.wait(time.Now())
}

// Window is how many messages the broker has sent when it waited for
// acknowledgements, and 0 if it has not been seen to wait.
func (s *Session) Window() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flow.seen
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
	var told *disconnected
	byPeer := errors.As(s.lost, &told) || errors.Is(s.lost, io.EOF) || socketerr.IsReset(s.lost)
	return byPeer && s.lostAt.Sub(s.opened) < within
}

// Unacked is how many messages the client holds, and when the oldest that this
// session has not acknowledged was received: the zero time if there is none.
func (s *Session) Unacked() (n int, oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.unacked.peek(); m != nil {
		oldest = m.ReceivedAt
	}
	return int(s.client.held.Load()), oldest
}

// TakeDropped is how many messages found no room, or were not handed out when the
// session was closed, and will not come again, since it was last asked.
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
	s.client.log.Warn("Connection to the MQTT broker lost", "error", err)
	var kept fifo
	for m := s.queue.pop(); m != nil; m = s.queue.pop() {
		if s.comesAgain(m) {
			s.release(m)
		} else {
			kept.push([]*Message{m})
		}
	}
	s.queue = kept
	s.end()
}

// comesAgain reports whether the broker sends a message again after a reconnection
// if it was not acknowledged [MQTT-4.4.0-1].
func (s *Session) comesAgain(m *Message) bool { return m.QoS > 0 && !s.client.cfg.CleanSession }

// end is common to all ends. Whoever calls it holds mu, and has noted which it is.
func (s *Session) end() {
	for m := s.unacked.pop(); m != nil; m = s.unacked.pop() {
		if m.done { // and waited for others before it
			s.release(m)
		}
	}
	s.ending.Do(func() { close(s.ended) })
	signal(s.arrived)
	signal(s.client.freed) // for receive, which would keep paho from ending
}

// close marks the session as closed. What was not handed out is dropped.
func (s *Session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for m := s.queue.pop(); m != nil; m = s.queue.pop() {
		if s.release(m); !s.comesAgain(m) {
			s.dropped++
		}
	}
	s.end()
}

// Drop counts those of the messages that will not come again, and forgets them all.
func (s *Session) Drop(messages []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range messages {
		if s.release(m); !s.comesAgain(m) {
			s.dropped++
		}
	}
}

// Close ends the connection, after the acknowledgements that are under way.
func (s *Session) Close() {
	s.close()
	s.tap.Flush()
	s.tap.polite.Store(true)
	_ = s.tap.SetWriteDeadline(time.Now().Add(closeWait)) // for DISCONNECT, if the broker does not read
	s.protocol.disconnect(2 * closeWait)
}

// abandon ends the connection at once: the broker gives no answer, or none that is
// of use.
func (s *Session) abandon() {
	s.close()
	_ = s.socket.Close()
	s.protocol.disconnect(0)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
