package devbroker

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

// guest is a client whose connection may end.
type guest struct {
	paho.Client
	lost chan struct{}
}

func newGuest(t testing.TB, o *paho.ClientOptions) *guest {
	t.Helper()
	lost := make(chan struct{})
	return &guest{connect(t, o.SetConnectionLostHandler(func(paho.Client, error) { close(lost) })), lost}
}

func (g *guest) ends(t testing.TB, who string) {
	t.Helper()
	select {
	case <-g.lost:
	case <-time.After(patience):
		t.Errorf("the connection of %s goes on", who)
	}
}

// stays asks the broker for something, whose answer would come after the end.
func (g *guest) stays(t testing.TB, who string) {
	t.Helper()
	token := g.Subscribe("stays", 1, nil)
	if !token.WaitTimeout(patience) || token.Error() != nil || !g.IsConnectionOpen() {
		t.Errorf("the connection of %s has ended: %v", who, token.Error())
	}
}

// A device, a registry and a broker log in as soon as they are there, by what they are known now.
func TestNewcomers(t *testing.T) {
	b, d := changeable(t, Config{})
	for who, put := range map[string]func(registry.Credentials) error{
		"d9": func(c registry.Credentials) error { return d.PutDevice("r", registry.Device{ID: "d9", Credentials: c}) },
		"r9": func(c registry.Credentials) error { return d.PutRegistry(registry.Registry{ID: "r9", Credentials: c}) },
		"b9": func(c registry.Credentials) error { return d.PutBroker(registry.Broker{ID: "b9", Credentials: c}) },
	} {
		other := options(b, "c").SetUsername(who).SetPassword("Another-Horse-2")
		refused(t, as(b, who, "c"))
		must(t, put(registry.Credentials{}))
		refused(t, as(b, who, "c"))
		must(t, put(known()))
		connect(t, as(b, who, "c")).Disconnect(250)
		refused(t, other)
		must(t, put(registry.Credentials{PasswordHashes: []string{hashOf(t, "Another-Horse-2")}}))
		connect(t, other).Disconnect(250)
		refused(t, as(b, who, "c"))
		d.Remove(who)
		refused(t, other)
	}
}

// Connections end when what they logged in with is gone, and no others.
func TestCredentialsGo(t *testing.T) {
	certFile, keyFile, _ := newCertificate(t, "server")
	_, _, pair := newCertificate(t, "device")
	buf, log := newInfoLog()
	d := newDirectory(t, labConfig())
	b := startBroker(t, Config{Address: "127.0.0.1:0", Directory: d, TLS: TLS{Address: "127.0.0.1:0", CertFile: certFile, KeyFile: keyFile}}, log)

	both := []string{passwordHash(), hashOf(t, "Another-Horse-2")}
	prints := []string{registry.Fingerprint(pair.Leaf)}
	put := func(hashes, fingerprints []string, aliases map[string]string) {
		t.Helper()
		must(t, d.PutDevice("r", registry.Device{ID: "d1", Aliases: aliases, Credentials: registry.Credentials{PasswordHashes: hashes, Fingerprints: fingerprints}}))
	}
	put(both, prints, nil)
	clients := map[string]*guest{
		"d1 by the first password":  newGuest(t, as(b, "d1", "first")),
		"d1 by the second password": newGuest(t, options(b, "second").SetUsername("d1").SetPassword("Another-Horse-2")),
		"d1 by certificate": newGuest(t, paho.NewClientOptions().AddBroker("ssl://"+b.TLSAddr().String()).SetClientID("cert").SetAutoReconnect(false).
			SetTLSConfig(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}})), // #nosec G402 -- the server is the test's
		"d1 by the process": newGuest(t, options(b, "process").SetUsername("d1").SetPassword(d.ProcessPassword())),
		"d2":                newGuest(t, as(b, "d2", "c")),
		"the registry":      newGuest(t, as(b, "r", "c")),
		"a broker":          newGuest(t, as(b, "b", "c")),
	}
	ended := 0
	after := func(what string, gone ...string) {
		t.Helper()
		ended += len(gone)
		for _, who := range gone {
			clients[who].ends(t, who)
			delete(clients, who)
		}
		for who, c := range clients {
			c.stays(t, who)
		}
		if n := strings.Count(buf.String(), "ended an MQTT connection"); n != ended {
			t.Errorf("%s: %d lines tell of an end, want %d", what, n, ended)
		}
	}
	put(both, prints, map[string]string{"kitchen/": "$devices/d1/"})
	after("an alias")
	put(append(both, hashOf(t, "A-Third-Horse-3")), prints, nil)
	after("one password more")
	put(both[1:], prints, nil)
	after("one less", "d1 by the first password")
	put(both[1:], nil, nil)
	after("no certificate", "d1 by certificate")
	put(nil, nil, nil)
	after("nothing", "d1 by the second password")
	must(t, d.PutRegistry(registry.Registry{ID: "r"}))
	after("the registry's", "the registry")
	must(t, d.PutRegistry(registry.Registry{ID: "other", Disabled: true, Credentials: known()}))
	after("another registry disabled")
	must(t, d.PutRegistry(registry.Registry{ID: "r", Disabled: true}))
	after("disabled", "d1 by the process", "d2")
	must(t, d.PutBroker(registry.Broker{ID: "b", Disabled: true, Credentials: known()}))
	after("a broker disabled", "a broker")
	refused(t, as(b, "d2", "c"))
	must(t, d.PutRegistry(registry.Registry{ID: "r"}))
	connect(t, as(b, "d2", "c"))
	// The refused login is a warning.
	if n := strings.Count(buf.String(), "level=WARN"); n != 1 || strings.Contains(buf.String(), d.ProcessPassword()) {
		t.Errorf("log:\n%s", buf)
	}
}

// An MQTT 5 client is told why.
func TestReasonOfTheEnd(t *testing.T) {
	b, d := changeable(t, Config{})
	d1, d2, d3 := connectV5(t, b, "d1", "1"), connectV5(t, b, "d2", "2"), connectV5(t, b, "d3", "3")
	must(t, d.PutDevice("r", registry.Device{ID: "d1"}))
	d.Remove("d2")
	must(t, d.PutRegistry(registry.Registry{ID: "other", Disabled: true}))
	for who, c := range map[string]struct {
		*wire
		want byte
	}{"d1": {d1, 0x87}, "d2": {d2, 0x98}, "d3": {d3, 0x98}} {
		if pk := c.read(mochi.Disconnect); pk.ReasonCode != c.want {
			t.Errorf("%s: DISCONNECT %#x, want %#x", who, pk.ReasonCode, c.want)
		}
	}
}

// What changes while a client logs in counts for it, too.
func TestChangeDuringLogin(t *testing.T) {
	b, d := changeable(t, Config{})
	c := paho.NewClient(as(b, "d1", "c").SetCleanSession(false))
	wait(t, c.Connect())
	session, _ := b.server.Clients.Get("d1/c")
	c.Disconnect(250)
	<-connOf(session).ended

	b.hook.takeover.RLock() // so that the session cannot move
	lost := make(chan struct{})
	again := paho.NewClient(as(b, "d1", "c").SetCleanSession(false).SetConnectionLostHandler(func(paho.Client, error) { close(lost) }))
	token := again.Connect()
	defer again.Disconnect(0)
	eventually(t, "it has shown its password", func() bool {
		free := b.hook.takeover.TryRLock()
		if free {
			b.hook.takeover.RUnlock()
		}
		return !free
	})
	must(t, d.PutDevice("r", registry.Device{ID: "d1"}))
	b.hook.takeover.RUnlock()
	token.WaitTimeout(patience)
	if token.Error() == nil {
		(&guest{again, lost}).ends(t, "d1")
	}
}
