package tests

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	leaseDevices  = 40
	leaseParts    = 8
	leaseDuration = 3 * time.Second
)

// leaseBook is what all triggers together have handed out, in the order in which it came.
type leaseBook struct {
	*httptest.Server
	mu      sync.Mutex
	times   map[string]int // of each message, "device:number"
	last    map[string]int // the highest number of each device
	repeats int
	wrong   []string // first appearances that were out of order
}

func startLeaseBook(t *testing.T) *leaseBook {
	b := &leaseBook{times: make(map[string]int), last: make(map[string]int)}
	b.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // a trigger was killed while it wrote: nothing was accepted
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		for line := range strings.Lines(string(body)) {
			b.note(strings.TrimSpace(line))
		}
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *leaseBook) note(message string) {
	if b.times[message]++; b.times[message] > 1 {
		b.repeats++
		return
	}
	device, number, _ := strings.Cut(message, ":")
	n, err := strconv.Atoi(number)
	if err != nil || n != b.last[device]+1 {
		b.wrong = append(b.wrong, fmt.Sprintf("%s after %d", message, b.last[device]))
	}
	b.last[device] = n
}

func (b *leaseBook) count() (distinct, repeats int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.times), b.repeats
}

// leaseTriggers are triggers that share the messages of a broker.
type leaseTriggers struct {
	t      *testing.T
	config string
}

func newLeaseTriggers(t *testing.T, b *broker, nats *natsServer, book *leaseBook) *leaseTriggers {
	return &leaseTriggers{t: t, config: writeFile(t, fmt.Sprintf(`
http: { address: '${HTTP_ADDRESS}' }
shutdown_timeout: 10s
input:
  iot_mqtt:
    urls: [ %s ]
    registry_id: greenhouse
    client_id: shared
    clean_session: false
    strict_order: true
    batching: { count: 10, period: 20ms }
    leases:
      parts: %d
      duration: %s
      urls: [ %s ]
pipeline:
  threads: 1
  processors:
    - archive: { format: lines }
output:
  http_client:
    url: %s
    verb: POST
    max_in_flight: 1
`, b.url(), leaseParts, leaseDuration, nats.url(), book.URL))}
}

// start starts one more.
func (l *leaseTriggers) start(name string) *member {
	l.t.Helper()
	m := &member{t: l.t, name: name, args: []string{binary, "run", l.config}, http: freeAddress(l.t)}
	m.ready = "http://" + m.http + "/ready"
	m.env = []string{"HTTP_ADDRESS=" + m.http}
	m.start()
	m.waitReady()
	return m
}

var partsHeld = regexp.MustCompile(`(?m)^iot_mqtt_parts\{[^}]*\} (\d+)$`)

// held is how many parts a trigger holds; -1 if it does not say.
func held(m *member) int {
	res, err := apiClient.Get("http://" + m.http + "/metrics")
	if err != nil {
		return -1
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(bufio.NewReader(res.Body))
	found := partsHeld.FindSubmatch(body)
	if found == nil {
		return -1
	}
	n, _ := strconv.Atoi(string(found[1]))
	return n
}

// shared waits until all parts are held, in fair shares.
func (l *leaseTriggers) shared(members ...*member) {
	l.t.Helper()
	eventually(l.t, fmt.Sprintf("%d triggers share %d parts", len(members), leaseParts), func() bool {
		total := 0
		for _, m := range members {
			n := held(m)
			if n < leaseParts/len(members) || n > leaseParts/len(members)+1 {
				return false
			}
			total += n
		}
		return total == leaseParts
	})
}

// leaseFlow publishes the messages of all devices, one round after the other, until it
// is ended, and returns how many rounds there were.
func leaseFlow(t *testing.T, b *broker, every time.Duration) (end func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	client := b.publisher()
	rounds := make(chan int, 1)
	go func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 1; ; n++ {
			for d := range leaseDevices {
				token := client.Publish(fmt.Sprintf("$devices/d%d/events", d), 1, false, fmt.Sprintf("d%d:%d", d, n))
				if token.WaitTimeout(patience); token.Error() != nil {
					t.Error(token.Error())
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				rounds <- n
				return
			}
		}
	}()
	end = func() int {
		cancel()
		return <-rounds
	}
	return sync.OnceValue(end)
}

// settle waits until all has come, and fails for what did not, or not in order.
func (b *leaseBook) settle(t *testing.T, rounds int) {
	t.Helper()
	eventually(t, fmt.Sprintf("all %d messages have come", rounds*leaseDevices), func() bool {
		distinct, _ := b.count()
		return distinct >= rounds*leaseDevices
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.wrong) > 0 {
		t.Errorf("%d first appearances are out of order, such as %q", len(b.wrong), b.wrong[:min(5, len(b.wrong))])
	}
	t.Logf("%d messages of %d devices, none missing, each device in order; %d came twice", len(b.times), leaseDevices, b.repeats)
}

// TestLeases: triggers are added, killed and stopped while messages flow. Nothing is
// missing, each device is in order, and only the one that was killed has anything come
// twice.
func TestLeases(t *testing.T) {
	b, nats, book := startMosquitto(t), startNATS(t), startLeaseBook(t)
	triggers := newLeaseTriggers(t, b, nats, book)
	one := triggers.start("one")
	triggers.shared(one)
	two, three := triggers.start("two"), triggers.start("three")
	triggers.shared(one, two, three)

	end := leaseFlow(t, b, 100*time.Millisecond)
	defer end()
	flows := func() { // for some messages more
		before, _ := book.count()
		eventually(t, "messages flow", func() bool { now, _ := book.count(); return now > before+5*leaseDevices })
	}
	flows()
	four := triggers.start("four")
	triggers.shared(one, two, three, four)
	flows()
	two.signal(syscall.SIGTERM)
	if code := two.exitCode(shutdownTimeout); code != 0 {
		t.Errorf("exit code %d", code)
	}
	stopped := time.Now()
	triggers.shared(one, three, four)
	t.Logf("the parts of a trigger that was stopped are held again after %v", time.Since(stopped).Round(time.Millisecond))
	flows()
	if _, repeats := book.count(); repeats > 0 {
		t.Errorf("%d messages came twice, though nothing was killed", repeats)
	}
	three.kill()
	killed := time.Now()
	triggers.shared(one, four)
	t.Logf("the parts of a trigger that was killed are held again after %v, with leases of %v", time.Since(killed).Round(time.Millisecond), leaseDuration)
	flows()
	book.settle(t, end())
}

// TestLeasesWithoutNATS: while NATS is away for less than the lease all goes on; for
// longer, triggers stop and say so, and go on when it is back.
func TestLeasesWithoutNATS(t *testing.T) {
	b, nats, book := startMosquitto(t), startNATS(t), startLeaseBook(t)
	triggers := newLeaseTriggers(t, b, nats, book)
	one, two := triggers.start("one"), triggers.start("two")
	triggers.shared(one, two)
	end := leaseFlow(t, b, 100*time.Millisecond)
	defer end()

	nats.kill()
	nats.start()
	triggers.shared(one, two)

	nats.kill()
	eventually(t, "the triggers stop", func() bool { return held(one) == 0 && held(two) == 0 })
	for _, m := range []*member{one, two} {
		eventually(t, m.name+" is not ready", func() bool {
			res, err := apiClient.Get(m.ready)
			if err != nil {
				return false
			}
			defer res.Body.Close()
			return res.StatusCode == http.StatusServiceUnavailable
		})
		if !strings.Contains(m.out.String(), "The lease has ended") {
			t.Errorf("%s does not say why it has stopped:\n%s", m.name, m.out.tail())
		}
	}
	nats.start()
	triggers.shared(one, two)
	for _, m := range []*member{one, two} {
		eventually(t, m.name+" says that it goes on", func() bool { return strings.Contains(m.out.String(), "The lease can be renewed again") })
	}
	one.waitReady()
	two.waitReady()
	book.settle(t, end())
}

// TestLeasesHalted: a trigger that stands still for longer than its lease wakes up
// with connections that the broker has ended, and leaves the parts to those that have
// them now.
func TestLeasesHalted(t *testing.T) {
	b, nats, book := startMosquitto(t), startNATS(t), startLeaseBook(t)
	triggers := newLeaseTriggers(t, b, nats, book)
	one, two := triggers.start("one"), triggers.start("two")
	triggers.shared(one, two)
	end := leaseFlow(t, b, 100*time.Millisecond)
	defer end()
	one.halt()
	eventually(t, "the other takes all parts", func() bool { return held(two) == leaseParts })
	one.signal(syscall.SIGCONT)
	triggers.shared(one, two)
	book.settle(t, end())
}

// TestLeasesBeforeNATS: a trigger that is started before NATS says what it waits for, and
// warns of it once.
func TestLeasesBeforeNATS(t *testing.T) {
	b, nats, book := startMosquitto(t), startNATS(t), startLeaseBook(t)
	triggers := newLeaseTriggers(t, b, nats, book)
	nats.kill()
	m := &member{t: t, name: "trigger", args: []string{binary, "run", triggers.config}, http: freeAddress(t)}
	m.ready = "http://" + m.http + "/ready"
	m.env = []string{"HTTP_ADDRESS=" + m.http}
	m.start()
	eventually(t, "it says that NATS is away", func() bool { return strings.Contains(m.out.String(), "no lease: connecting to NATS") })
	nats.start()
	m.waitReady()
	triggers.shared(m)
	if n := strings.Count(m.out.String(), "There is no lease yet"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, m.out.tail())
	}
}
