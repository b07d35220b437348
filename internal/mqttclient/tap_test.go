package mqttclient

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire is a net.Conn that reads from r and remembers what is written.
type wire struct {
	net.Conn
	r       io.Reader
	written bytes.Buffer
	writes  int
	closed  bool
}

func (w *wire) Read(p []byte) (int, error) { return w.r.Read(p) }
func (w *wire) Close() error               { w.closed = true; return nil }
func (w *wire) Write(p []byte) (int, error) {
	w.writes++
	return w.written.Write(p)
}

func encode(t testing.TB, cp packets.ControlPacket) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := cp.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func publishPacket(topic string, qos byte, id uint16, payload []byte) *packets.PublishPacket {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Qos, p.MessageID, p.Payload = topic, qos, id, payload
	return p
}

// TestTapTakesPublishAndPassesTheRest in whatever pieces the bytes come.
func TestTapTakesPublishAndPassesTheRest(t *testing.T) {
	large := bytes.Repeat([]byte{0xff}, 300_000) // a length of three bytes, larger than any buffer
	ping := encode(t, packets.NewControlPacket(packets.Pingresp))
	suback := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	suback.MessageID, suback.ReturnCodes = 7, bytes.Repeat([]byte{1}, 200)
	var stream, rest []byte
	add := func(cp packets.ControlPacket) { stream = append(stream, encode(t, cp)...) }
	add(publishPacket("a", 0, 0, nil))
	stream, rest = append(stream, ping...), append(rest, ping...)
	add(publishPacket("$devices/d/events", 1, 65535, []byte("one")))
	add(publishPacket("b", 2, 3, large))
	stream, rest = append(stream, encode(t, suback)...), append(rest, encode(t, suback)...)
	add(publishPacket("c", 1, 4, bytes.Repeat([]byte("x"), 200)))
	stream, rest = append(stream, ping...), append(rest, ping...)

	for name, split := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "in halves": iotest.HalfReader,
	} {
		t.Run(name, func(t *testing.T) {
			var got []*Message
			tp := newTap(&wire{r: split(bytes.NewReader(stream))}, func(m []*Message) { got = append(got, m...) })
			passed, err := io.ReadAll(tp)
			if err != nil || !bytes.Equal(passed, rest) {
				t.Fatalf("passed %d bytes, want %d: %v", len(passed), len(rest), err)
			}
			if len(got) != 4 || got[1].Topic != "$devices/d/events" || got[1].ID != 65535 || string(got[1].Payload) != "one" ||
				got[2].QoS != 2 || !bytes.Equal(got[2].Payload, large) || got[0].ID != 0 || len(got[0].Payload) != 0 {
				t.Fatalf("%d messages", len(got))
			}
		})
	}
}

func TestTapRefusesWhatIsMalformed(t *testing.T) {
	for name, stream := range map[string]string{
		"no topic":           "\x30\x01\x00",
		"topic too long":     "\x30\x03\x00\x05a",
		"no identifier":      "\x32\x03\x00\x01a",
		"identifier 0":       "\x32\x05\x00\x01a\x00\x00",
		"QoS 3":              "\x36\x05\x00\x01a\x00\x01",
		"endless length":     "\x30\xff\xff\xff\xff\x01",
		"ends in the header": "\x30",
		"ends in the body":   "\x30\x0a\x00\x01a",
	} {
		tp := newTap(&wire{r: bytes.NewReader([]byte(stream))}, func([]*Message) { t.Errorf("%s: was taken", name) })
		if _, err := io.ReadAll(tp); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAcknowledgementsShareAWrite(t *testing.T) {
	w := &wire{}
	tp := newTap(w, nil)
	for i := range 3 * ackBatch {
		tp.acknowledge([]*Message{{QoS: 1, ID: uint16(i + 1)}, {QoS: 0}})
	}
	tp.acknowledge([]*Message{{QoS: 2, ID: 0x1234}})
	deadline := time.Now().Add(5 * time.Second)
	for written := 0; written < (3*ackBatch+1)*ackLen; time.Sleep(time.Millisecond) {
		tp.mu.Lock()
		written = w.written.Len()
		tp.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatal("the last acknowledgement was never written")
		}
	}
	for i := range 3 * ackBatch {
		cp, err := packets.ReadPacket(&w.written)
		if ack, ok := cp.(*packets.PubackPacket); err != nil || !ok || ack.MessageID != uint16(i+1) {
			t.Fatalf("%v %v, want PUBACK %d", cp, err, i+1)
		}
	}
	cp, err := packets.ReadPacket(&w.written)
	if rec, ok := cp.(*packets.PubrecPacket); err != nil || !ok || rec.MessageID != 0x1234 {
		t.Fatalf("%v %v", cp, err)
	}
	if w.writes > 5 {
		t.Errorf("%d writes", w.writes)
	}
}

// FuzzTap compares the tap with paho's own reader: what it takes and what it
// passes on must be what paho would have read.
func FuzzTap(f *testing.F) {
	f.Add(encode(f, publishPacket("t", 1, 1, []byte("payload"))))
	f.Add(append(encode(f, packets.NewControlPacket(packets.Pingresp)), encode(f, publishPacket("t", 0, 0, nil))...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var messages []*Message
		passed, err := io.ReadAll(newTap(&wire{r: bytes.NewReader(stream)}, func(m []*Message) { messages = append(messages, m...) }))
		if err != nil && errors.Is(err, io.EOF) {
			t.Fatal("io.EOF must end a stream silently")
		}
		r, rest := bytes.NewReader(stream), []byte{}
		for range messages {
			for {
				before := len(stream) - r.Len()
				if _, _, n, err := peekHeader(bufio.NewReader(bytes.NewReader(stream[before:]))); err != nil || n > r.Len() {
					return // paho would take the memory before it misses the bytes
				}
				cp, err := packets.ReadPacket(r)
				if err != nil {
					return // paho is stricter: it reads less than the tap
				}
				p, ok := cp.(*packets.PublishPacket)
				if !ok {
					rest = append(rest, stream[before:len(stream)-r.Len()]...)
					continue
				}
				m := messages[0]
				messages = messages[1:]
				if p.TopicName != m.Topic || !bytes.Equal(p.Payload, m.Payload) || p.Qos != m.QoS || p.MessageID != m.ID ||
					p.Retain != m.Retained || p.Dup != m.Duplicate {
					t.Fatalf("paho reads %v, the tap %+v", p, m)
				}
				break
			}
		}
		if !bytes.HasPrefix(passed, rest) {
			t.Fatalf("passed %q, want %q", passed, rest)
		}
	})
}
