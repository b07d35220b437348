package fanout

import (
	"bytes"
	"testing"
)

// BenchmarkBroadcast is what a message costs before any socket: it is kept, and the
// connection takes it by a pass of its own.
func BenchmarkBroadcast(b *testing.B) {
	h := newTestHub(b, Config{Limits: Limits{QueueBytes: 64 << 20}, History: History{MaxMessages: 1000}})
	payload := bytes.Repeat([]byte("x"), 200)
	for b.Loop() {
		h.Broadcast(Message{Opcode: Text, Payload: payload})
	}
}

// BenchmarkReceive is what a message of a client costs that nobody wants.
func BenchmarkReceive(b *testing.B) {
	h := newTestHub(b, Config{Limits: Limits{MaxMessageBytes: 1 << 10}})
	c, _ := link(b, h, 0)
	frame := masked(finBit|byte(Text), "a message of some forty bytes, as it is sent")
	sent := make([]byte, len(frame))
	for b.Loop() {
		copy(sent, frame)
		c.feed(sent)
	}
}
