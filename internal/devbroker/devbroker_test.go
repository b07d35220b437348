package devbroker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	mqtt "github.com/mochi-mqtt/server/v2"
	mochi "github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen: with -race on a busy machine, long.
const patience = 60 * time.Second

func startBroker(t testing.TB, cfg Config, log *slog.Logger) *Broker {
	t.Helper()
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:0"
	}
	b, err := Start(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func closeBroker(t testing.TB, b *Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error("closing:", err)
	}
}

func options(b *Broker, id string) *paho.ClientOptions {
	return paho.NewClientOptions().
		AddBroker("tcp://" + b.Addr().String()).
		SetClientID(id).
		SetProtocolVersion(4). // or paho tries 3.1 after any refusal
		SetAutoReconnect(false).
		SetConnectTimeout(patience)
}

func connect(t testing.TB, o *paho.ClientOptions) paho.Client {
	t.Helper()
	c := paho.NewClient(o)
	wait(t, c.Connect())
	t.Cleanup(func() { c.Disconnect(250) })
	return c
}

func wait(t testing.TB, token paho.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) {
		t.Fatalf("no answer to %T", token)
	}
	if err := token.Error(); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t testing.TB, c paho.Client, filter string, handle paho.MessageHandler) {
	t.Helper()
	token := c.Subscribe(filter, 1, handle)
	wait(t, token)
	if code := token.(*paho.SubscribeToken).Result()[filter]; code != 1 {
		t.Fatalf("subscribing to %s: granted %#x", filter, code)
	}
}

// publishNumbers publishes the numbers from..to-1, and returns when all are acknowledged.
func publishNumbers(t testing.TB, c paho.Client, topic string, from, to, padding int) {
	t.Helper()
	pad := strings.Repeat(" ", padding)
	tokens := make([]paho.Token, 0, to-from)
	for i := from; i < to; i++ {
		tokens = append(tokens, c.Publish(topic, 1, false, strconv.Itoa(i)+pad))
	}
	for _, token := range tokens {
		wait(t, token)
	}
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("waited in vain until", what)
		}
	}
}

// numbers gathers what a subscriber receives, in order.
type numbers struct {
	mu   sync.Mutex
	list []int
	grew chan struct{}
}

func newNumbers() *numbers { return &numbers{grew: make(chan struct{}, 1)} }

func (n *numbers) handle(_ paho.Client, m paho.Message) {
	i, _ := strconv.Atoi(strings.TrimSpace(string(m.Payload())))
	n.mu.Lock()
	n.list = append(n.list, i)
	n.mu.Unlock()
	select {
	case n.grew <- struct{}{}:
	default:
	}
}

// until waits for enough to hold of the list so far.
func (n *numbers) until(t testing.TB, enough func(list []int) bool) []int {
	t.Helper()
	late := time.After(patience)
	for {
		n.mu.Lock()
		list := n.list
		n.mu.Unlock()
		if enough(list) {
			return list
		}
		select {
		case <-n.grew:
		case <-late:
			t.Fatalf("gave up with %d messages", len(list))
		}
	}
}

func (n *numbers) untilCount(t testing.TB, count int) []int {
	t.Helper()
	return n.until(t, func(list []int) bool { return len(list) >= count })
}

func inOrder(t testing.TB, list []int, count int) {
	t.Helper()
	if len(list) != count {
		t.Fatalf("%d messages, want %d", len(list), count)
	}
	for i, got := range list {
		if got != i {
			t.Fatalf("message %d is number %d", i, got)
		}
	}
}

func nothingDropped(t testing.TB, b *Broker) {
	t.Helper()
	if inflight, messages := b.Dropped(); inflight != 0 || messages != 0 {
		t.Errorf("dropped: %d in flight, %d messages", inflight, messages)
	}
}

// logBuffer is a log to look into.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newLog() (*logBuffer, *slog.Logger) {
	buf := new(logBuffer)
	return buf, slog.New(slog.NewTextHandler(buf, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// Topics that begin with $ are published and subscribed to like any other, and wildcards at the top do not cover them.
func TestTopics(t *testing.T) {
	b := startBroker(t, Config{}, nil)

	type delivery struct{ filter, topic, payload string }
	got := make(chan delivery, 100)
	filters := []string{"$devices/+/events/#", "$devices/dev1/events", "$devices/#", "$registries/r/#", "#", "+/dev1/events", "plain/+"}
	for _, filter := range filters {
		sub := connect(t, options(b, "sub "+filter))
		subscribe(t, sub, filter, func(_ paho.Client, m paho.Message) {
			got <- delivery{filter, m.Topic(), string(m.Payload())}
		})
	}

	pub := connect(t, options(b, "pub"))
	want := map[delivery]int{}
	for topic, covered := range map[string][]string{
		"$devices/dev1/events":        {"$devices/+/events/#", "$devices/dev1/events", "$devices/#"},
		"$devices/dev2/events/a/b":    {"$devices/+/events/#", "$devices/#"},
		"$devices/dev1/state":         {"$devices/#"},
		"$registries/r/commands/x":    {"$registries/r/#"},
		"$monitoring/dev1/json":       {},
		"plain/topic":                 {"plain/+", "#"},
		"room/dev1/events":            {"+/dev1/events", "#"},
		"devices/without/dollar/sign": {"#"},
	} {
		for qos := range byte(3) {
			wait(t, pub.Publish(topic, qos, false, "x"))
			for _, filter := range covered {
				want[delivery{filter, topic, "x"}]++
			}
		}
	}

	// The last message to each filter comes after all the others: then what has come is all that comes.
	count := map[delivery]int{}
	for _, filter := range filters {
		last := strings.NewReplacer("+", "last", "#", "last").Replace(filter)
		wait(t, pub.Publish(last, 1, false, filter))
		for ended := false; !ended; {
			select {
			case d := <-got:
				ended = d.payload == d.filter && d.filter == filter
				if d.payload == "x" {
					count[d]++
				}
			case <-time.After(patience):
				t.Fatalf("%s: no last message; before it: %v", filter, count)
			}
		}
	}
	if !maps.Equal(count, want) {
		t.Errorf("got %v\nwant %v", count, want)
	}
	nothingDropped(t, b)
}

func TestRetained(t *testing.T) {
	b := startBroker(t, Config{}, nil)
	pub := connect(t, options(b, "pub"))
	wait(t, pub.Publish("$devices/dev1/state", 1, true, "7"))

	got := newNumbers()
	subscribe(t, connect(t, options(b, "sub")), "$devices/dev1/state", got.handle)
	if list := got.untilCount(t, 1); list[0] != 7 {
		t.Errorf("got %v", list)
	}
}

// The largest message of the original service passes, and one that is out of all proportion ends the connection.
func TestMessageSize(t *testing.T) {
	buf, log := newLog()
	b := startBroker(t, Config{}, log)
	got := make(chan int, 1)
	subscribe(t, connect(t, options(b, "sub")), "big", func(_ paho.Client, m paho.Message) { got <- len(m.Payload()) })

	lost := make(chan error, 1)
	pub := connect(t, options(b, "pub").SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err }))
	wait(t, pub.Publish("big", 1, false, make([]byte, 256<<10)))
	select {
	case n := <-got:
		if n != 256<<10 {
			t.Errorf("got %d bytes", n)
		}
	case <-time.After(patience):
		t.Fatal("the message did not arrive")
	}

	pub.Publish("big", 0, false, make([]byte, maxPacketBytes+1))
	select {
	case <-lost:
	case <-time.After(patience):
		t.Fatal("the connection survived")
	}
	closeBroker(t, b)
	if !strings.Contains(buf.String(), "packet too large") {
		t.Errorf("the log does not say why the connection ended: %s", buf)
	}
}

// A subscriber that does not read at all during a burst holds up nobody and misses nothing.
func TestBurstToSlowSubscriber(t *testing.T) {
	const burst = 20_000
	b := startBroker(t, Config{}, nil)

	got := newNumbers()
	wake := make(chan struct{})
	slow := connect(t, options(b, "slow"))
	subscribe(t, slow, "$devices/+/events", func(c paho.Client, m paho.Message) {
		<-wake // paho stops reading from the socket while a handler runs
		got.handle(c, m)
	})

	quick := newNumbers()
	subscribe(t, connect(t, options(b, "quick")), "$devices/#", quick.handle)

	publishNumbers(t, connect(t, options(b, "pub")), "$devices/dev1/events", 0, burst, 1000)
	inOrder(t, quick.untilCount(t, burst), burst)
	close(wake)
	inOrder(t, got.untilCount(t, burst), burst)
	nothingDropped(t, b)
}

// A persistent session keeps what is published while its client is away, and gives it back in order.
func TestPersistentSession(t *testing.T) {
	const before, away = 100, 20_000
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

func TestUsers(t *testing.T) {
	buf, log := newLog()
	b := startBroker(t, Config{Users: map[string]string{"dev1": "Passw0rd"}}, log)
	connect(t, options(b, "good").SetUsername("dev1").SetPassword("Passw0rd"))

	for name, o := range map[string]*paho.ClientOptions{
		"wrong password": options(b, "c").SetUsername("dev1").SetPassword("Passw0rd!"),
		"unknown user":   options(b, "c").SetUsername("dev2").SetPassword("Passw0rd"),
		"no password":    options(b, "c").SetUsername("dev1"),
		"no user":        options(b, "c"),
	} {
		token := paho.NewClient(o).Connect()
		if !token.WaitTimeout(patience) {
			t.Fatalf("%s: no answer", name)
		}
		// The client learns it: the connection is not just cut.
		if code := token.(*paho.ConnectToken).ReturnCode(); code != packets.ErrRefusedNotAuthorised {
			t.Errorf("%s: return code %d, %v", name, code, token.Error())
		}
	}
	closeBroker(t, b)
	if n := strings.Count(buf.String(), "refused an MQTT client"); n != 4 || strings.Count(buf.String(), "\n") != 4 {
		t.Errorf("want one line for each refusal:\n%s", buf)
	}
	if strings.Contains(buf.String(), "Passw0rd") {
		t.Errorf("a password in the log:\n%s", buf)
	}
}

func TestAddressInUse(t *testing.T) {
	first := startBroker(t, Config{}, nil)
	_, err := Start(Config{Address: first.Addr().String()}, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{first.Addr().String(), "mqtt_broker.address", "address already in use"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestAddressMalformed(t *testing.T) {
	if _, err := Start(Config{Address: "nonsense"}, nil); err == nil || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Errorf("got %v", err)
	}
}

func TestAnonymousWarning(t *testing.T) {
	for _, c := range []struct {
		address string
		users   map[string]string
		warns   bool
	}{
		{"127.0.0.1:0", nil, false},
		{":0", nil, true},
		{":0", map[string]string{"a": "b"}, false},
	} {
		buf, log := newLog()
		b := startBroker(t, Config{Address: c.address, Users: c.users}, log)
		want := fmt.Sprintf("anyone who reaches %s can publish and subscribe; set mqtt_broker.users", b.Addr())
		if got := strings.Contains(buf.String(), want); got != c.warns {
			t.Errorf("%+v: warned %v: %s", c, got, buf)
		}
		if c.warns && !strings.Contains(buf.String(), "component=mqtt_broker") {
			t.Errorf("no component: %s", buf)
		}
	}
}

// Clients that come and go, politely or not, are nothing to write about.
func TestQuietLog(t *testing.T) {
	buf, log := newLog()
	b := startBroker(t, Config{}, log)

	polite := paho.NewClient(options(b, "polite").SetKeepAlive(time.Second))
	wait(t, polite.Connect())
	polite.Disconnect(250)
	connectRaw(t, dialRaw(t, b), "same", true)
	connectRaw(t, dialRaw(t, b), "same", true) // takes over
	for _, c := range []net.Conn{dialRaw(t, b), dialRaw(t, b)} {
		_ = c.Close() // a port scan
	}
	rude := dialRaw(t, b)
	connectRaw(t, rude, "rude", true)
	_ = rude.Close()

	closeBroker(t, b)
	if buf.String() != "" {
		t.Errorf("log: %s", buf)
	}
}

// What does not fit is counted and logged, once for each period.
func TestDropped(t *testing.T) {
	const room, published = 10, 25
	buf, log := newLog()
	b, err := start(Config{Address: "127.0.0.1:0"}, log, room)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	sub := paho.NewClient(options(b, "away").SetCleanSession(false))
	wait(t, sub.Connect())
	subscribe(t, sub, "a", nil)
	sub.Disconnect(250)

	publishNumbers(t, connect(t, options(b, "pub")), "a", 0, published, 0)
	if inflight, messages := b.Dropped(); inflight != published-room || messages != 0 {
		t.Errorf("dropped: %d, %d", inflight, messages)
	}
	h := &hook{server: b.server, log: log}
	h.OnSysInfoTick(b.server.Info.Clone())
	h.OnSysInfoTick(b.server.Info.Clone())
	if n := strings.Count(buf.String(), "MQTT messages were dropped"); n != 1 || !strings.Contains(buf.String(), "dropped=15 slowest_client=away unacknowledged=10") {
		t.Errorf("log: %s", buf)
	}
}

// Close is not held up by a connection that has not said CONNECT, nor by one that does not read, and may be repeated.
func TestClose(t *testing.T) {
	b := startBroker(t, Config{}, nil)
	silent := dialRaw(t, b)
	stalled := dialRaw(t, b)
	connectRaw(t, stalled, "stalled", true)
	subscribeRaw(t, stalled, "#")

	pub := connect(t, options(b, "pub"))
	publishNumbers(t, pub, "a", 0, 3000, 4000)

	begin := time.Now()
	closeBroker(t, b)
	closeBroker(t, b)
	if took := time.Since(begin); took > 10*farewell {
		t.Errorf("took %s", took)
	}
	_ = silent.SetReadDeadline(time.Now().Add(patience))
	if _, err := silent.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the silent connection: %v", err)
	}
	if _, err := net.Dial("tcp", b.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
}

func dialRaw(t testing.TB, b *Broker) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func connectRaw(t testing.TB, c net.Conn, id string, clean bool) {
	t.Helper()
	openRaw(t, c, connectPacket(id, clean))
}

func connectPacket(id string, clean bool) *packets.ConnectPacket {
	p := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	p.ProtocolName, p.ProtocolVersion, p.ClientIdentifier, p.CleanSession = "MQTT", 4, id, clean
	return p
}

func openRaw(t testing.TB, c net.Conn, p *packets.ConnectPacket) {
	t.Helper()
	answer := exchange(t, c, p)
	if ack, ok := answer.(*packets.ConnackPacket); !ok || ack.ReturnCode != packets.Accepted {
		t.Fatalf("answer to CONNECT: %v", answer)
	}
}

func subscribeRaw(t testing.TB, c net.Conn, filter string) {
	t.Helper()
	p := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	p.MessageID, p.Topics, p.Qoss = 1, []string{filter}, []byte{1}
	answer := exchange(t, c, p)
	if ack, ok := answer.(*packets.SubackPacket); !ok || ack.ReturnCodes[0] != 1 {
		t.Fatalf("answer to SUBSCRIBE: %v", answer)
	}
}

func exchange(t testing.TB, c net.Conn, p packets.ControlPacket) packets.ControlPacket {
	t.Helper()
	if err := p.Write(c); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	answer, err := packets.ReadPacket(c)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// dial makes paho use a connection that the test can cut.
func dial(b *Broker, wire *net.Conn) paho.OpenConnectionFunc {
	return func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		c, err := net.Dial("tcp", b.Addr().String())
		*wire = c
		return c, err
	}
}
