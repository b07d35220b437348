package envelope

import (
	"fmt"
	"iter"
)

// Group is a stretch of consecutive messages, msgs[From:To]: one envelope, or, with Err set, a single message that no
// envelope can hold.
type Group struct {
	From, To int
	Size     int   // of the whole envelope, in bytes
	Err      error // a *SizeError, or nil
}

// SizeError tells of a message that on its own makes an envelope larger than allowed.
type SizeError struct {
	Size     int // of the envelope with this message alone
	MaxBytes int // what is allowed
	Payload  int // length of the raw payload
}

// Error names the sizes and what to do about them.
func (e *SizeError) Error() string {
	return fmt.Sprintf("message of %d bytes as an envelope exceeds max_bytes %d (payload %d bytes): raise max_bytes or send smaller payloads",
		e.Size, e.MaxBytes, e.Payload)
}

// Split yields msgs, in order and without a gap, as the fewest groups of consecutive messages whose envelopes are at most
// maxBytes long; 0 means no limit. A message too large for any envelope is a group of its own, with Err set, and ends the
// envelope before it, so that the groups keep the order of the messages.
func Split(format Format, msgs []Message, maxBytes int) iter.Seq[Group] {
	return func(yield func(Group) bool) {
		g := Group{Size: fixedEnvelope}
		for i := range msgs {
			size := Size(format, &msgs[i])
			if maxBytes > 0 && g.To > g.From && g.Size+len(",")+size > maxBytes {
				if !yield(g) {
					return
				}
				g = Group{From: i, To: i, Size: fixedEnvelope}
			}
			if g.To > g.From {
				g.Size += len(",")
			}
			g.Size += size
			g.To = i + 1
			if maxBytes > 0 && g.Size > maxBytes {
				g.Err = &SizeError{Size: g.Size, MaxBytes: maxBytes, Payload: len(msgs[i].Payload)}
				if !yield(g) {
					return
				}
				g = Group{From: i + 1, To: i + 1, Size: fixedEnvelope}
			}
		}
		if g.To > g.From {
			yield(g)
		}
	}
}
