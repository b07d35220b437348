package mqttclient

import "time"

// rests are what puts reads off, so that the messages of a stream are taken
// together and wake the goroutines on their way once for all of them. A message
// that comes alone finds the session reading and is taken at once.
type rests struct {
	received time.Time // when messages last came
	taken    bool      // before the read that is next
	skip     int       // that many are not worth while
}

const (
	// restLeast is from one read to the next. A broker waits for acknowledgements
	// once its window is full: with Mosquitto's default of 20 messages, this allows
	// for 60,000 a second.
	restLeast = 300 * time.Microsecond
	// restMost bounds a rest while messages wait to be handed out, which is when
	// reading more would only take the processor away from the pipeline.
	restMost = 2 * time.Millisecond
	// A rest after which fewer messages come than restGain has cost more than it
	// has saved: the messages come too slowly, or the broker's window is too small.
	// The next is tried after restSkip reads.
	restGain = 3
	restSkip = 64
)

// rest is called before a read when there is nothing left of the last one.
func (s *Session) rest() {
	if s.rests.skip > 0 {
		s.rests.skip--
		return
	}
	for {
		since := time.Since(s.rests.received)
		if since >= restMost || since >= restLeast && !s.busy() {
			return
		}
		s.rests.taken = true
		nap(restLeast)
	}
}

// busy reports whether there are messages that nobody has asked for yet.
func (s *Session) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.len() > 0
}

// came notes that a read has brought n messages.
func (r *rests) came(n int, at time.Time) {
	r.received = at
	if r.taken && n < restGain {
		r.skip = restSkip
	}
	r.taken = false
}
