package devbroker

import (
	"bytes"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen: with -race on a busy machine, long.
const patience = 60 * time.Second

func startBroker(t testing.TB, cfg Config, log *slog.Logger) *Broker {
	t.Helper()
	if cfg.Address+cfg.TLS.Address+cfg.WebSocket.Address == "" {
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
		SetConnectTimeout(patience).
		SetPingTimeout(patience) // of a machine that is busy with other tests
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

func newLog() (*logBuffer, *slog.Logger) { return newLogOf(slog.LevelWarn) }

func newInfoLog() (*logBuffer, *slog.Logger) { return newLogOf(slog.LevelInfo) }

func newLogOf(level slog.Level) (*logBuffer, *slog.Logger) {
	buf := new(logBuffer)
	return buf, slog.New(slog.NewTextHandler(buf, &slog.HandlerOptions{Level: level}))
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

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t testing.TB, o *paho.ClientOptions) {
	t.Helper()
	if token := paho.NewClient(o).Connect(); !token.WaitTimeout(patience) || token.Error() == nil {
		t.Errorf("%s is let in", o.Username)
	}
}
