package fanout

import "sync/atomic"

// A queue is the log of frames that connections of a hub share.
//
// Chunks are linked towards the newer end only. Nobody frees them: a cursor
// holds its chunk and, by the links, all that it has yet to read; what no
// cursor reaches any more is garbage. One goroutine at a time appends, the one
// that holds Hub.mu; readers take no lock, they load what was published.
type queue struct {
	tail  *chunk // of the appender
	head  atomic.Pointer[mark]
	wire  wire
	tight bool // a chunk has no room to spare; guarded by Hub.mu
	conns int  // that read it; guarded by Hub.mu
}

// A mark is a boundary between two messages: so many bytes and messages have
// been appended before it.
type mark struct {
	pos uint64
	seq uint64
}

type chunk struct {
	wire wire
	base mark          // of buf[0]
	buf  []byte        // of fixed length; written once, from left to right
	end  atomic.Uint64 // bytes of buf that are published
	last atomic.Uint64 // messages before end
	next atomic.Pointer[chunk]
}

// Chunks double from the one to the other, so that a quiet route stays small
// and in a flood the end of a chunk, which splits a write in two, is rare.
const (
	minChunk = 4 << 10
	maxChunk = 256 << 10
)

func newQueue(w wire) *queue {
	q := &queue{wire: w, tail: &chunk{wire: w}}
	q.head.Store(new(mark))
	return q
}

// append adds one message and publishes it; see wire.append for the arguments.
func (q *queue) append(first byte, id string, payload []byte, maxFrame int) {
	c, need := q.tail, q.wire.size(id, payload, maxFrame)
	end := int(c.end.Load())
	if len(c.buf)-end < need {
		c = q.grow(c, need)
		end = 0
	}
	written := q.wire.append(c.buf[end:end], first, id, payload, maxFrame)
	head := &mark{pos: c.base.pos + uint64(end+len(written)), seq: c.last.Load() + 1}
	c.last.Store(head.seq)
	c.end.Store(head.pos - c.base.pos)
	q.head.Store(head)
}

func (q *queue) grow(full *chunk, need int) *chunk {
	size := need
	if !q.tight {
		size = max(need, min(max(minChunk, 2*len(full.buf)), maxChunk))
	}
	c := &chunk{wire: q.wire, base: *q.head.Load(), buf: make([]byte, size)}
	c.last.Store(c.base.seq)
	full.next.Store(c)
	q.tail = c
	return c
}

// A cursor is a place in a queue, always at the boundary of a message.
type cursor struct {
	chunk *chunk
	off   int
	seq   uint64
}

// newest is a cursor that has read everything.
func (q *queue) newest() cursor {
	c := q.tail
	return cursor{chunk: c, off: int(c.end.Load()), seq: c.last.Load()}
}

func (c *cursor) pos() uint64 { return c.chunk.base.pos + uint64(c.off) }

// read returns the messages from the cursor up to limit, or up to the end of a
// chunk if that comes first, and moves the cursor behind them. It returns nil
// when there are none.
func (c *cursor) read(limit mark) []byte {
	if !c.settle(limit) {
		return nil
	}
	end, seq := int(limit.pos-c.chunk.base.pos), limit.seq
	if c.chunk.next.Load() != nil { // sealed: what it holds is final
		if sealed := int(c.chunk.end.Load()); sealed <= end {
			end, seq = sealed, c.chunk.last.Load()
		}
	}
	p := c.chunk.buf[c.off:end:end]
	c.off, c.seq = end, seq
	return p
}

// unread gives back what read returned, but for the messages that begin in its
// first keep bytes, which it returns.
func (c *cursor) unread(p []byte, keep int) []byte {
	kept := 0
	for kept < keep {
		kept += c.chunk.wire.length(p[kept:])
	}
	c.off -= len(p) - kept
	for rest := p[kept:]; len(rest) > 0; rest = rest[c.chunk.wire.length(rest):] {
		c.seq--
	}
	return p[:kept]
}

// skip moves the cursor behind the oldest message before limit and returns how
// many bytes that was, 0 when there is none.
func (c *cursor) skip(limit mark) int {
	if !c.settle(limit) {
		return 0
	}
	n := c.chunk.wire.length(c.chunk.buf[c.off:])
	c.off += n
	c.seq++
	return n
}

// message returns the frames of the message at the cursor, which must not be at the
// end.
func (c cursor) message() []byte {
	c.settle(mark{pos: c.pos() + 1})
	p := c.chunk.buf[c.off:]
	return p[:c.chunk.wire.length(p)]
}

// messageLen is the length of the message at the start of p, in all its frames.
func messageLen(p []byte) (n int) {
	for fin := false; !fin; {
		var size int
		size, fin = frameSize(p[n:])
		n += size
	}
	return n
}

// settle moves the cursor to the chunk that holds the next byte before limit,
// and reports whether there is one.
func (c *cursor) settle(limit mark) bool {
	for c.pos() < limit.pos {
		next := c.chunk.next.Load()
		if next == nil || c.pos() < next.base.pos {
			return true
		}
		c.chunk, c.off = next, 0
	}
	return false
}
