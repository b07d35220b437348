package devbroker

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/iotcast/iotcast/internal/registry"
)

// Devices come and go, and those who stay notice nothing: no message of theirs is lost, no connection ends, no login is
// refused.
func TestComingAndGoing(t *testing.T) {
	const (
		stay    = 4
		rounds  = 100
		passing = 3
		topic   = "$devices/s%d/events"
	)
	b, d := changeable(t, Config{File: filepath.Join(t.TempDir(), "broker.db")})
	for i := range stay {
		must(t, d.PutDevice("r", registry.Device{ID: fmt.Sprint("s", i), Credentials: known(), Aliases: map[string]string{fmt.Sprintf("room%d/", i): fmt.Sprintf("$devices/s%d/", i)}}))
	}
	var (
		mu   sync.Mutex
		seen [stay]map[int]bool
	)
	for i := range seen {
		seen[i] = map[int]bool{}
	}
	reader := newGuest(t, as(b, "r", "reader").SetCleanSession(false).SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		var who int
		_, _ = fmt.Sscanf(m.Topic(), topic, &who)
		n, _ := strconv.Atoi(string(m.Payload()))
		mu.Lock()
		defer mu.Unlock()
		seen[who][n] = true
	}))
	for i := range stay {
		subscribe(t, reader, fmt.Sprintf(topic, i), nil)
	}

	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	var staying, coming sync.WaitGroup
	var published [stay]int
	clients := make([]*guest, stay)
	for i := range stay {
		clients[i] = newGuest(t, as(b, fmt.Sprint("s", i), "c"))
		staying.Go(func() {
			for n := 0; !stopped(); n++ {
				token := clients[i].Publish(fmt.Sprintf("room%d/events", i), 1, false, strconv.Itoa(n))
				if !token.WaitTimeout(patience) || token.Error() != nil {
					t.Error("not published:", token.Error())
					return
				}
				published[i] = n + 1
			}
		})
		staying.Go(func() { // logs in again and again
			for !stopped() {
				c := paho.NewClient(as(b, fmt.Sprint("s", i), "again"))
				token := c.Connect()
				if !token.WaitTimeout(patience) || token.Error() != nil {
					t.Error("not logged in:", token.Error())
					return
				}
				c.Disconnect(0)
			}
		})
	}
	for p := range passing {
		id := fmt.Sprint("x", p)
		// A client that tries to be there all the time, and publishes what is kept.
		coming.Go(func() {
			for !stopped() {
				c := paho.NewClient(as(b, id, "c").SetCleanSession(false).SetWill("$me/device/state", "gone", 1, true).
					SetWriteTimeout(10 * time.Millisecond)) // of a connection that has ended: else 30 s
				if token := c.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
					continue
				}
				c.Subscribe("$me/device/commands", 1, nil)
				for range 20 {
					c.Publish("$me/device/state", 1, true, "x").WaitTimeout(time.Millisecond)
				}
				c.Disconnect(0)
			}
		})
	}
	for round := range rounds {
		for p := range passing {
			id := fmt.Sprint("x", p)
			must(t, d.PutDevice("r", registry.Device{ID: id, Credentials: known(), Aliases: map[string]string{id + "/": "$devices/" + id + "/"}}))
		}
		for i := range stay { // changes that are not about their connections
			aliases := map[string]string{fmt.Sprintf("room%d/", i): fmt.Sprintf("$devices/s%d/", i), fmt.Sprint("round", round, "of", i): fmt.Sprintf("$devices/s%d/state", i)}
			must(t, d.PutDevice("r", registry.Device{ID: fmt.Sprint("s", i), Aliases: aliases, Credentials: registry.Credentials{PasswordHashes: []string{hash(round), passwordHash()}}}))
		}
		must(t, b.Publish("r", "$registries/r/config", []byte("x")))
		for p := range passing {
			d.Remove(fmt.Sprint("x", p))
		}
	}
	close(stop)
	staying.Wait()
	coming.Wait()

	eventually(t, "all has come", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for i := range stay {
			if len(seen[i]) < published[i] {
				return false
			}
		}
		return true
	})
	for i, c := range clients {
		c.stays(t, fmt.Sprint("s", i))
	}
	reader.stays(t, "the registry")
	nothingDropped(t, b)

	// Of those who have gone nothing is left.
	eventually(t, "their sessions have gone", func() bool {
		for id := range b.server.Clients.GetAll() {
			if strings.HasPrefix(id, "x") {
				return false
			}
		}
		return true
	})
	for p := range passing {
		id := fmt.Sprint("x", p)
		if got := keptOf(b, id); got != "" {
			t.Errorf("%s: kept %s", id, got)
		}
		b.hook.kept.mu.Lock()
		if names := b.hook.kept.names[id]; names != nil {
			t.Errorf("%s: kept %v", id, names)
		}
		b.hook.kept.mu.Unlock()
		b.hook.monitor.mu.Lock()
		if a := b.hook.monitor.devices[id]; a != nil {
			t.Errorf("%s: %+v", id, a)
		}
		b.hook.monitor.mu.Unlock()
		if all := b.hook.sessions.all(id); len(all) > 0 {
			t.Errorf("%s: sessions %v", id, all)
		}
	}
	if got := keptOf(b, "r"); strings.Contains(got, "$devices/x") || strings.Contains(got, "/_/x") {
		t.Errorf("kept: %s", got)
	}
}

// hash is a password hash of nobody knows what.
func hash(n int) string {
	return fmt.Sprintf("$2a$04$EuxNHLzXxTw1SSIjSOspcuLNEoDiJ3HedcSLP9H3Sk/5J.Nf%06d", n)
}
