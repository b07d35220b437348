package mqttclient

import "time"

// rest puts off the next read: until restLeast after the last one, and on, up to
// restMost, while messages wait to be handed out. A message that comes alone finds
// the session reading and is taken at once; those of a stream are taken together,
// which wakes the goroutines on their way once for all of them.
//
// A broker waits for acknowledgements once its window is full: with Mosquitto's
// default of 20 messages, restLeast allows for 60,000 messages a second.
func (s *Session) rest() {
	for {
		since := time.Since(s.received)
		if since >= restMost || since >= restLeast && !s.busy() {
			return
		}
		nap(restLeast)
	}
}

const (
	restLeast = 300 * time.Microsecond
	restMost  = 2 * time.Millisecond
)

// busy reports whether there are messages that nobody has asked for yet.
func (s *Session) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.len() > 0
}
