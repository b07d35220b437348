package devbroker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

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
	for _, want := range []string{first.Addr().String(), "mqtt_broker.address", "another program listens there"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestAddressMalformed(t *testing.T) {
	if _, err := Start(Config{Address: "nonsense"}, nil); err == nil || !strings.Contains(err.Error(), "nonsense") {
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
	b.hook.OnSysInfoTick(b.server.Info.Clone())
	b.hook.OnSysInfoTick(b.server.Info.Clone())
	if n := strings.Count(buf.String(), "MQTT messages were dropped"); n != 1 || !strings.Contains(buf.String(), "dropped=15 slowest_client=away unacknowledged=10") {
		t.Errorf("log: %s", buf)
	}
}

// Close does not hang where clients leave at the same time.
func TestCloseWhileClientsLeave(t *testing.T) {
	for range 20 {
		b := startBroker(t, Config{}, nil)
		closed := make(chan struct{})
		var leaving sync.WaitGroup
		for range 4 {
			leaving.Go(func() { // as the end of each connection does, and more often
				for {
					select {
					case <-closed:
						return
					default:
						b.server.Clients.Delete("gone")
					}
				}
			})
		}
		go func() { closeBroker(t, b); close(closed) }()
		select {
		case <-closed:
		case <-time.After(patience):
			t.Fatal("it does not close")
		}
		leaving.Wait()
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
