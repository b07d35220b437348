package envelopelog

// maxWriters is how many writers a reader remembers. One that it has forgotten, since
// others have written meanwhile, is begun with anew, at its next message.
const maxWriters = 1024

// reader takes of each writer's copies one of each number, in order.
type reader struct {
	last  map[string]*place // by writer
	clock uint64            // of copies that were looked at
}

// place is how far a writer was read.
type place struct {
	number   uint64 // of the last message that was taken
	sequence uint64 // of its copy in the stream
	seen     uint64 // at this clock
}

func newReader() *reader { return &reader{last: make(map[string]*place)} }

// takes reports whether to take the copy at a sequence of the stream: it is the next
// message of its writer; or it is the first of its writer that was seen, or tells
// that some are missing, which happens only to who does not read the whole log.
func (r *reader) takes(p position, sequence uint64) bool {
	r.clock++
	at := r.last[p.writer]
	if at == nil {
		if len(r.last) >= maxWriters {
			r.forget()
		}
		r.last[p.writer] = &place{number: p.number, sequence: sequence, seen: r.clock}
		return true
	}
	at.seen = r.clock
	if p.number != at.number+1 && p.confirmed <= at.number {
		return false
	}
	at.number, at.sequence = p.number, sequence
	return true
}

// lacks reports whether a copy tells of messages that are in the stream and did not
// come, and the sequence of the last that did.
func (r *reader) lacks(p position) (last uint64, some bool) {
	at := r.last[p.writer]
	if at == nil || p.confirmed <= at.number {
		return 0, false
	}
	return at.sequence, true
}

// forget drops the writer of which nothing has come for the longest time.
func (r *reader) forget() {
	oldest, seen := "", r.clock
	for writer, at := range r.last {
		if at.seen < seen {
			oldest, seen = writer, at.seen
		}
	}
	delete(r.last, oldest)
}
