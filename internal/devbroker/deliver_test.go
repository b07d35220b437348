package devbroker

import (
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// A connection takes some kilobytes of heap, and not half a megabyte for what might wait for it.
func TestSmallConnections(t *testing.T) {
	const many, most = 100, 100 << 10
	b := startBroker(t, Config{}, nil)
	inUse := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := inUse()
	for i := range many {
		connectRaw(t, dialRaw(t, b), strconv.Itoa(i), true)
	}
	if each := (int64(inUse()) - int64(before)) / many; each > most {
		t.Errorf("%d bytes a connection, more than %d", each, most)
	}
}

// However many retained messages there are, they come after the SUBACK, and all of them.
func TestManyRetained(t *testing.T) {
	const many = 1000
	b := startBroker(t, Config{}, nil)
	pub := connect(t, options(b, "pub"))
	for i := range many {
		wait(t, pub.Publish("a/"+strconv.Itoa(i), 0, true, "x"))
	}
	wait(t, pub.Publish("last", 1, true, "x"))

	sub := dialRaw(t, b)
	connectRaw(t, sub, "sub", true)
	subscribeRaw(t, sub, "a/#")
	got := map[string]bool{}
	for range many {
		p := readPublish(t, sub)
		if got[p.TopicName] = true; !p.Retain {
			t.Fatalf("%s has no retain flag", p.TopicName)
		}
	}
	if len(got) != many {
		t.Errorf("%d retained messages came, not %d", len(got), many)
	}
}

// What a client does not read waits for it, in order, and stops nobody.
func TestSlowReader(t *testing.T) {
	const many, padding = 3000, 4000 // more than sockets and queue take
	b := startBroker(t, Config{}, nil)
	slow := dialRaw(t, b)
	connectRaw(t, slow, "slow", true)
	subscribeRaw(t, slow, "a")
	publishNumbers(t, connect(t, options(b, "pub")), "a", 0, many, padding)
	for i := range many {
		if p := readPublish(t, slow); strings.TrimSpace(string(p.Payload)) != strconv.Itoa(i) || p.Dup {
			t.Fatalf("message %d is %.10s, DUP %t", i, p.Payload, p.Dup)
		}
	}
}

// Messages that come together are acknowledged in order, each once.
func TestAcknowledgedTogether(t *testing.T) {
	const many = 500
	b := startBroker(t, Config{}, nil)
	c := dialRaw(t, b)
	connectRaw(t, c, "c", true)
	var all strings.Builder
	for id := 1; id <= many; id++ {
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.Qos, p.TopicName, p.MessageID = 1, "a", uint16(id)
		if err := p.Write(&all); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fmt.Fprint(c, all.String()); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	for id := 1; id <= many; id++ {
		p, err := packets.ReadPacket(c)
		if err != nil {
			t.Fatal(err)
		}
		if ack, ok := p.(*packets.PubackPacket); !ok || ack.MessageID != uint16(id) {
			t.Fatalf("answer %d: %v", id, p)
		}
	}
}

func readPublish(t testing.TB, c net.Conn) *packets.PublishPacket {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	p, err := packets.ReadPacket(c)
	if err != nil {
		t.Fatal(err)
	}
	publish, ok := p.(*packets.PublishPacket)
	if !ok {
		t.Fatalf("not a PUBLISH: %v", p)
	}
	return publish
}

// A client that reads none of its acknowledgements is not read from: they do not pile up.
func TestUnreadAcknowledgements(t *testing.T) {
	b := startBroker(t, Config{}, nil)
	nc := dialRaw(t, b)
	connectRaw(t, nc, "c", true)
	cl, _ := b.server.Clients.Get("c")
	c := connOf(cl)
	must(t, nc.(*net.TCPConn).SetReadBuffer(4<<10))
	must(t, c.Conn.(*net.TCPConn).SetWriteBuffer(4<<10))
	publishes := []byte(strings.Repeat(string(encode(`32 "a" 0001`)), 1000))
	go func() {
		for {
			if _, err := nc.Write(publishes); err != nil { // at the end of the test
				return
			}
		}
	}()
	queued := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.queue)
	}
	received := func() int64 { return atomic.LoadInt64(&b.server.Info.MessagesReceived) }
	last, since := received(), time.Now()
	eventually(t, "it is read from no more", func() bool {
		if n := queued(); n > 4*queueBytes {
			t.Fatalf("%d bytes of acknowledgements wait", n)
		}
		if now := received(); now != last {
			last, since = now, time.Now()
		}
		return queued() >= queueBytes && time.Since(since) > time.Second
	})
}

// A message that expires while it waits for a slow reader is not sent any more [MQTT-3.3.2-5].
func TestExpiredInLine(t *testing.T) {
	b := startBroker(t, Config{}, nil)
	slow := &talker{nc: dialRaw(t, b), clientID: "slow"}
	must(t, slow.act("connect 5"))
	must(t, slow.exchange(`82 0001 00 "a" 00`, "90 0001 00 00"))
	cl, _ := b.server.Clients.Get("slow")
	c := connOf(cl)
	c.mu.Lock()
	c.flowing = false // as if its queue were full
	c.mu.Unlock()
	pub := &talker{nc: dialRaw(t, b), clientID: "pub"}
	must(t, pub.act("connect 5"))
	pub.send(encode(`30 "a" 05 0200000001 "old"`))
	pub.send(encode(`30 "a" 00 "new"`))
	must(t, pub.act("ping"))
	eventually(t, "the first has expired", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.waiting) == 2 && time.Now().Unix() > c.waiting[0].pk.Expiry
	})
	c.resume()
	must(t, slow.receive(`30 "a" 00 "new"`))
}

// What of QoS 0 waits for a client that does not read is bounded in bytes, and what comes after it is dropped, and counted. What it has
// room for comes.
func TestFleetingBytes(t *testing.T) {
	const size = 1 << 20
	b := startBroker(t, Config{}, nil)
	slow := dialRaw(t, b)
	connectRaw(t, slow, "slow", true)
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID, p.Topics, p.Qoss = 1, []string{"a"}, []byte{0}
	exchange(t, slow, p)
	pub := connect(t, options(b, "pub"))
	payload := strings.Repeat("x", size)
	sent := 0
	for ; sent < 200; sent++ {
		if _, dropped := b.Dropped(); dropped > 0 {
			break
		}
		wait(t, pub.Publish("a", 1, false, payload))
	}
	_, dropped := b.Dropped()
	if most := maxFleetingBytes/size + 40; dropped == 0 || sent > most { // and what is in the sockets
		t.Fatalf("%d dropped of %d", dropped, sent)
	}
	for range sent - int(dropped) {
		if got := readPublish(t, slow); len(got.Payload) != size {
			t.Fatalf("%d bytes came", len(got.Payload))
		}
	}
	wait(t, pub.Publish("a", 1, false, "there is room again"))
	if got := readPublish(t, slow); string(got.Payload) != "there is room again" {
		t.Fatalf("got %.20s", got.Payload)
	}
}
