package devbroker

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	mqtt "github.com/mochi-mqtt/server/v2"
	mochi "github.com/mochi-mqtt/server/v2/packets"
)

// A persistent session keeps what is published while its client is away, and gives it back in order.
func TestPersistentSession(t *testing.T) {
	const before, away = 100, 10_000 // more than the 8192 that mochi has in flight by default
	b := startBroker(t, Config{}, nil)
	pub := connect(t, options(b, "pub"))

	got := newNumbers()
	persistent := options(b, "sub").SetCleanSession(false).SetDefaultPublishHandler(got.handle)
	sub := paho.NewClient(persistent)
	wait(t, sub.Connect())
	subscribe(t, sub, "$devices/+/events/#", nil)
	publishNumbers(t, pub, "$devices/dev1/events", 0, before, 0)
	got.untilCount(t, before)
	session, _ := b.server.Clients.Get("sub")
	eventually(t, "all is acknowledged", func() bool { return session.State.Inflight.Len() == 0 })
	sub.Disconnect(250)
	<-connOf(session).ended

	publishNumbers(t, pub, "$devices/dev1/events/a", before, before+away, 0)

	back := paho.NewClient(persistent)
	token := back.Connect()
	wait(t, token)
	defer back.Disconnect(250)
	if !token.(*paho.ConnectToken).SessionPresent() {
		t.Error("the session is gone")
	}
	inOrder(t, got.untilCount(t, before+away), before+away)
	nothingDropped(t, b)
}

// A subscriber that loses its connection again and again, without a word and with messages under way, gets all of them,
// and each connection gets its messages in order.
func TestResumeUnderLoad(t *testing.T) {
	const (
		resumes    = 40
		publishers = 4
		topic      = "$devices/%d/events"
	)
	b := startBroker(t, Config{}, nil)
	persistent := func() *paho.ClientOptions { return options(b, "sub").SetCleanSession(false) }

	first := paho.NewClient(persistent())
	wait(t, first.Connect())
	subscribe(t, first, "$devices/+/events", nil)
	first.Disconnect(250)

	// Without a break, each at its own count.
	stop := make(chan struct{})
	published := make([]int, publishers)
	var publishing sync.WaitGroup
	for p := range publishers {
		c := connect(t, options(b, fmt.Sprint("pub", p)))
		publishing.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				token := c.Publish(fmt.Sprintf(topic, p), 1, false, strconv.Itoa(i))
				if !token.WaitTimeout(patience) || token.Error() != nil {
					t.Error("not published:", token.Error())
					return
				}
				published[p] = i + 1
			}
		})
	}

	var (
		mu   sync.Mutex
		seen [publishers]map[int]bool
	)
	for p := range seen {
		seen[p] = map[int]bool{}
	}
	// resume opens the session, gives each message to received, checks their order, and cuts the connection when
	// received has had enough.
	resume := func(received func(p, i int) (enough bool)) {
		t.Helper()
		var highest [publishers]int
		enough := make(chan struct{})
		done := sync.OnceFunc(func() { close(enough) })
		handle := func(_ paho.Client, m paho.Message) {
			var p int
			_, _ = fmt.Sscanf(m.Topic(), topic, &p)
			i, _ := strconv.Atoi(string(m.Payload()))
			mu.Lock()
			defer mu.Unlock()
			if i < highest[p] {
				t.Errorf("publisher %d: %d came after %d", p, i, highest[p])
			}
			highest[p] = i
			seen[p][i] = true
			if received(p, i) {
				done()
			}
		}
		var wire net.Conn
		sub := paho.NewClient(persistent().SetDefaultPublishHandler(handle).SetCustomOpenConnectionFn(dial(b, &wire)))
		wait(t, sub.Connect())
		select {
		case <-enough:
		case <-time.After(patience):
			t.Error("gave up waiting for messages")
		}
		_ = wire.Close() // as a killed process leaves it
		sub.Disconnect(0)
	}
	for range resumes {
		received := 0
		resume(func(int, int) bool { received++; return received >= 200 })
	}
	close(stop)
	publishing.Wait()

	// The last message of each publisher comes after all that is still to come.
	pub := connect(t, options(b, "end"))
	for p := range publishers {
		wait(t, pub.Publish(fmt.Sprintf(topic, p), 1, false, strconv.Itoa(published[p])))
	}
	resume(func(int, int) bool {
		for p := range publishers {
			if !seen[p][published[p]] {
				return false
			}
		}
		return true
	})

	mu.Lock()
	defer mu.Unlock()
	for p := range publishers {
		lost := 0
		for i := range published[p] {
			if !seen[p][i] {
				lost++
			}
		}
		if lost > 0 {
			t.Errorf("publisher %d: %d of %d messages are lost", p, lost, published[p])
		}
	}
	nothingDropped(t, b)
}

// A session is resent in the order in which it was filled, also where the 16 bits that mochi sorts by start anew.
func TestRenumber(t *testing.T) {
	session := mqtt.NewInflights()
	for i := range 1000 {
		session.Set(mochi.Packet{PacketID: uint16(i * 7919), Created: int64(1<<17 - 500 + i), Payload: []byte(strconv.Itoa(i))})
	}
	renumber(session)
	var list []int
	for _, pk := range session.GetAll(false) {
		i, _ := strconv.Atoi(string(pk.Payload))
		list = append(list, i)
	}
	inOrder(t, list, 1000)
}

// A client that says goodbye while messages are on their way to it has said goodbye: its will is not published.
func TestNoWillAfterDisconnect(t *testing.T) {
	b := startBroker(t, Config{}, nil)
	pub := connect(t, options(b, "pub"))
	wills := newNumbers()
	subscribe(t, connect(t, options(b, "heir")), "will", wills.handle)
	for range 20 {
		c := dialRaw(t, b)
		p := connectPacket("mortal", true)
		p.WillFlag, p.WillTopic, p.WillMessage, p.WillQos = true, "will", []byte("1"), 1
		openRaw(t, c, p)
		subscribeRaw(t, c, "a")
		token := pub.Publish("a", 1, false, make([]byte, 1<<20))
		if err := packets.NewControlPacket(packets.Disconnect).Write(c); err != nil {
			t.Fatal(err)
		}
		_ = c.Close() // with much unread: a reset
		wait(t, token)
	}
	eventually(t, "the broker has let go", func() bool { _, ok := b.server.Clients.Get("mortal"); return !ok })
	wait(t, pub.Publish("will", 1, false, "0"))
	if list := wills.untilCount(t, 1); list[0] != 0 {
		t.Errorf("a will was published: %v", list)
	}
}

// A new connection takes the session from one that is still open but has stopped reading, at once.
func TestTakeOverStalledConnection(t *testing.T) {
	const count = 3000
	b := startBroker(t, Config{}, nil)
	stalled := dialRaw(t, b)
	connectRaw(t, stalled, "sub", false)
	subscribeRaw(t, stalled, "$devices/#")

	publishNumbers(t, connect(t, options(b, "pub")), "$devices/dev1/events", 0, count, 4000) // more than sockets hold

	got := newNumbers()
	begin := time.Now()
	connect(t, options(b, "sub").SetCleanSession(false).SetDefaultPublishHandler(got.handle))
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("took %s", took)
	}
	inOrder(t, got.untilCount(t, count), count)
	nothingDropped(t, b)
}

// With a session its subscriptions end: who comes later with its client ID has none.
func TestExpiredSession(t *testing.T) {
	b := startBroker(t, Config{}, nil)
	first := &talker{nc: dialRaw(t, b)}
	must(t, first.exchange(`10 "MQTT" 05 02 003c 05 1100000001 "c"`, "20 00 00 ...")) // for a second
	must(t, first.exchange(`82 0001 00 "a" 01`, "90 0001 00 01"))
	first.send(encode("e0"))
	must(t, first.receive("end"))
	publish(t, connect(t, options(b, "pub")), "a", "for the session")
	eventually(t, "the session has expired", func() bool { _, there := b.server.Clients.Get("c"); return !there })

	second := &talker{nc: dialRaw(t, b)}
	must(t, second.exchange(`10 "MQTT" 05 00 003c 00 "c"`, "20 00 00 ..."))
	publish(t, connect(t, options(b, "pub")), "a", "x")
	must(t, second.act("ping")) // and nothing before its answer
	if n := atomic.LoadInt64(&b.server.Info.Subscriptions); n != 0 {
		t.Errorf("%d subscriptions are counted", n)
	}
	if n := atomic.LoadInt64(&b.server.Info.Inflight); n != 0 {
		t.Errorf("%d messages in flight are counted", n)
	}
}

// Who is taken over has a will to publish, also if it is publishing just then.
func TestWillAtTakeover(t *testing.T) {
	const rounds = 20
	b := startBroker(t, Config{}, nil)
	got := newNumbers()
	subscribe(t, connect(t, options(b, "reader")), "will", got.handle)
	publishes := []byte(strings.Repeat(string(encode(`30 "a" "x"`)), 1000))
	for i := range rounds {
		c := dialRaw(t, b)
		p := connectPacket("mortal", true)
		p.WillFlag, p.WillTopic, p.WillMessage = true, "will", []byte(strconv.Itoa(i))
		openRaw(t, c, p)
		var publishing sync.WaitGroup
		publishing.Go(func() {
			for {
				if _, err := c.Write(publishes); err != nil {
					return
				}
			}
		})
		before := atomic.LoadInt64(&b.server.Info.MessagesReceived)
		eventually(t, "it publishes", func() bool { return atomic.LoadInt64(&b.server.Info.MessagesReceived) > before+1000 })
		heir := dialRaw(t, b)
		connectRaw(t, heir, "mortal", true)
		publishing.Wait()
		got.untilCount(t, i+1)
		must(t, packets.NewControlPacket(packets.Disconnect).Write(heir))
		eventually(t, "the broker has let go", func() bool { _, ok := b.server.Clients.Get("mortal"); return !ok })
	}
	inOrder(t, got.untilCount(t, rounds), rounds)
}

// Who may not log in does nothing to the session of the client ID that it gives: a QoS 2 message that comes again is still known.
func TestRefusedLoginTouchesNoSession(t *testing.T) {
	b := startBroker(t, Config{Users: map[string]string{"u": "p"}}, nil)
	got := newNumbers()
	reader := connect(t, options(b, "reader").SetUsername("u").SetPassword("p"))
	subscribe(t, reader, "a", got.handle)
	c := &talker{nc: dialRaw(t, b)}
	must(t, c.exchange(`10 "MQTT" 04 c2 003c "c" "u" "p"`, "20 00 00"))
	must(t, c.exchange(`34 "a" 0007 30`, "50 0007"))
	refused(t, options(b, "c").SetUsername("u").SetPassword("wrong"))
	must(t, c.exchange(`3c "a" 0007 30`, "50 0007"))
	must(t, c.exchange("62 0007", "70 0007"))
	must(t, c.exchange(`34 "a" 0008 31`, "50 0008"))
	inOrder(t, got.untilCount(t, 2), 2)
}

// What is counted in flight comes back to nothing, however often the session has moved.
func TestCountedInFlight(t *testing.T) {
	const many = 10
	file := filepath.Join(t.TempDir(), "broker.db")
	b := startBroker(t, Config{File: file}, nil)
	counted := func(want int64) {
		t.Helper()
		if n := atomic.LoadInt64(&b.server.Info.Inflight); n != want {
			t.Errorf("%d messages in flight are counted, not %d", n, want)
		}
	}
	c := dialRaw(t, b)
	connectRaw(t, c, "sub", false)
	subscribeRaw(t, c, "a")
	publishNumbers(t, connect(t, options(b, "pub")), "a", 0, many, 0)
	counted(many)
	for range 2 {
		c = dialRaw(t, b)
		connectRaw(t, c, "sub", false)
		for range many {
			readPublish(t, c)
		}
		counted(many)
	}
	_ = c.Close()
	closeBroker(t, b)

	b = startBroker(t, Config{File: file}, nil)
	counted(many)
	if n := atomic.LoadInt64(&b.server.Info.Subscriptions); n != 1 {
		t.Errorf("%d subscriptions are counted", n)
	}
	got := newNumbers()
	connect(t, options(b, "sub").SetCleanSession(false).SetDefaultPublishHandler(got.handle))
	inOrder(t, got.untilCount(t, many), many)
	eventually(t, "nothing is counted", func() bool { return atomic.LoadInt64(&b.server.Info.Inflight) == 0 })
}
