package envelope

import (
	"testing"
	"time"
)

func BenchmarkAppendMessage(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"64", 64}, {"1k", 1 << 10}, {"256k", 256 << 10}} {
		b.Run(size.name, func(b *testing.B) {
			m := deviceMessage(make([]byte, size.bytes))
			m.CreatedAt = time.Now()
			buf := AppendOpen(make([]byte, 0, fixedEnvelope+Size(DeviceFormat, &m)))
			b.ReportAllocs()
			b.SetBytes(int64(size.bytes))
			for b.Loop() {
				AppendMessage(buf, DeviceFormat, &m)
			}
		})
	}
}

// BenchmarkEnvelope is all that a message of 64 bytes costs in a batch of 100, its share of the envelope's buffer included.
func BenchmarkEnvelope(b *testing.B) {
	msgs := make([]Message, 100)
	for i := range msgs {
		msgs[i] = deviceMessage(make([]byte, 64))
	}
	b.ReportAllocs()
	for b.Loop() {
		for g := range Split(DeviceFormat, msgs, 0) {
			AppendEnvelope(make([]byte, 0, g.Size), DeviceFormat, msgs[g.From:g.To])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(msgs)), "ns/msg")
}
