package tests

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/iotcast/iotcast/tests/internal/publisher"
)

// The broker is killed three times while 20,000 messages go through it. The
// clients' connections stay, and every message reaches every client, in order.
//
// What the broker itself may lose: with autosave_on_changes mosquitto 2.0 writes
// its database after each message, but answers PUBACK just before. So the last
// message that it accepted before a SIGKILL may not have been saved, and if it
// has not reached a subscriber's socket either, it never will. All others must
// arrive.
//
// What the broker sends twice is what it had not saved as acknowledged. How much
// that is depends on the broker, which reads acknowledgements one at a time: a
// plain subscriber beside iotcast shows it. What iotcast must not do is to add
// repetitions of its own.
func TestLossless(t *testing.T) {
	t.Parallel()
	const (
		messages   = 20_000
		kills      = 3
		window     = 100
		maxUnacked = 200
	)
	b := startMosquitto(t, "persistence true", "persistence_location "+memoryDir(t)+"/",
		"autosave_on_changes true", "autosave_interval 1", "max_inflight_messages 100")
	cast := runIotcast(t, trigger(b, `
broker_id: factory
client_id: iotcast-lossless
clean_session: false
max_unacked: `+strconv.Itoa(maxUnacked)+`
batching: { count: 20, period: 20ms }`, ""))
	clients := connectAll(t, cast.url("/telemetry"))
	plain := subscribePlain(b)

	p := &publisher.Publisher{Addr: b.addr, Topics: []string{"hall/press"}, Count: messages, Window: window}
	done := startPublisher(t, p, 120*time.Second)
	for i := range kills {
		mark := messages * (i + 1) / (kills + 1)
		eventuallyWithin(t, time.Minute, strconv.Itoa(mark)+" messages are accepted", func() bool { return p.Accepted() >= mark })
		b.kill()
		b.start()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if p.Lost() != kills {
		t.Errorf("the publisher lost its connection %d times, the broker was killed %d times", p.Lost(), kills)
	}
	eventually(t, "iotcast is connected again", func() bool { return cast.connects() == kills+1 })

	// The end comes after all that the broker has kept.
	b.publish(1, message{topic: "hall/press", payload: strconv.AppendInt(nil, messages, 10)})
	got := clients[0].numbersUntil(messages)
	eventually(t, "the plain subscriber has the end", func() bool { return slices.Contains(plain.received(), messages) })

	arrived := firsts(got)
	if !slices.IsSorted(arrived) {
		t.Error("messages did not arrive in order, repetitions aside")
	}
	missing := 0
	for n := range messages {
		if _, found := slices.BinarySearch(arrived, n); found {
			continue
		}
		if missing++; !slices.Contains(p.InDoubt(), n) {
			t.Errorf("message %d was accepted by the broker and has not arrived", n)
		}
	}
	twice, plainTwice := len(got)-len(arrived), len(plain.received())-len(firsts(plain.received()))
	t.Logf("%d messages: %d lost of the %d that the broker may have lost (%v); %d came twice, %d to the plain subscriber",
		messages, missing, len(p.InDoubt()), p.InDoubt(), twice, plainTwice)
	// After each kill the broker goes back once, to what it sends again, and the
	// publisher once, to what it has seen no PUBACK for.
	if back := stepsBack(got); back > 2*kills {
		t.Errorf("the numbers went back %d times, the broker was killed %d times", back, kills)
	}
	checkSame(t, clients)
	if lost := cast.metric("iot_mqtt_session_lost", ""); lost != 0 {
		t.Errorf("the broker has lost the session %v times", lost)
	}
}

// startPublisher runs a publisher beside the test.
func startPublisher(t *testing.T, p *publisher.Publisher, within time.Duration) (done <-chan error) {
	ctx, cancel := context.WithTimeout(t.Context(), within)
	result := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		result <- p.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return result
}

// memoryDir is a directory in memory where there is one: the database is written
// 20,000 times, and has to outlive a process, not a power failure.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "iotcast-tests-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// numbersUntil returns the numbers that have arrived as payloads, up to last.
func (c *client) numbersUntil(last int) (numbers []int) {
	c.t.Helper()
	read := 0
	eventuallyWithin(c.t, time.Minute, "message "+strconv.Itoa(last), func() bool {
		for _, m := range c.received()[read:] {
			read++
			for _, e := range parseEnvelope(c.t, m.text) {
				n, err := strconv.Atoi(string(e.payload))
				if err != nil {
					c.t.Fatalf("payload %q was never sent", e.payload)
				}
				numbers = append(numbers, n)
			}
		}
		return slices.Contains(numbers, last)
	})
	return numbers
}

// firsts leaves out what came before.
func firsts(numbers []int) (distinct []int) {
	seen := map[int]bool{}
	for _, n := range numbers {
		if !seen[n] {
			distinct = append(distinct, n)
		}
		seen[n] = true
	}
	return distinct
}

// stepsBack is how often a number does not follow a smaller one.
func stepsBack(numbers []int) (n int) {
	for i := 1; i < len(numbers); i++ {
		if numbers[i] <= numbers[i-1] {
			n++
		}
	}
	return n
}

// connects is how often iotcast has connected to its broker.
func (c *iotcast) connects() int {
	log := c.out.String()
	return strings.Count(log, "Subscribed on the MQTT broker") + strings.Count(log, "Resumed the session on the MQTT broker")
}

// plainSubscriber is a persistent session of a library that acknowledges at once.
type plainSubscriber struct {
	mu      sync.Mutex
	numbers []int
}

func subscribePlain(b *broker) *plainSubscriber {
	b.t.Helper()
	s := &plainSubscriber{}
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(b.url()).SetClientID("plain").SetCleanSession(false).
		SetMaxReconnectInterval(100 * time.Millisecond).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			n, _ := strconv.Atoi(string(m.Payload()))
			s.mu.Lock()
			defer s.mu.Unlock()
			s.numbers = append(s.numbers, n)
		}))
	waitToken(b.t, "connecting the plain subscriber", c.Connect())
	b.t.Cleanup(func() { c.Disconnect(0) })
	waitToken(b.t, "subscribing plainly", c.Subscribe("#", 1, nil))
	return s
}

func (s *plainSubscriber) received() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.numbers)
}
