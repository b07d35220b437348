package devbroker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/crypto/bcrypt"

	"github.com/iotcast/iotcast/internal/registry"
)

// changeable is a lab, and the directory that it follows.
func changeable(t testing.TB, cfg Config) (*Broker, *registry.Directory) {
	t.Helper()
	cfg.Directory = newDirectory(t, labConfig())
	return startBroker(t, cfg, nil), cfg.Directory
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// known is somebody with the password of the lab.
func known() registry.Credentials {
	return registry.Credentials{PasswordHashes: []string{passwordHash()}}
}

func hashOf(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	must(t, err)
	return string(hash)
}

func refused(t testing.TB, o *paho.ClientOptions) {
	t.Helper()
	if token := paho.NewClient(o).Connect(); !token.WaitTimeout(patience) || token.Error() == nil {
		t.Errorf("%s is let in", o.Username)
	}
}

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

// An alias is there with the next packet, also of a connection that was there before, and gone with it.
func TestAliasesChange(t *testing.T) {
	b, d := changeable(t, Config{})
	_, in := subscriber(t, b, "r", "in", "attic/#", "cellar/+", "$devices/d2/events")
	_, own := subscriber(t, b, "d2", "own", "attic/#", "cellar/commands")
	d2, r := connectV5(t, b, "d2", "c"), connect(t, as(b, "r", "c"))
	send := func(topic string, taken bool) {
		t.Helper()
		d2.send(publishV5(topic, 1, 7, 0))
		if ack := d2.read(mochi.Puback); (ack.ReasonCode < 0x80) != taken {
			t.Errorf("publishing to %s: PUBACK %#x", topic, ack.ReasonCode)
		}
	}
	put := func(aliases map[string]string) {
		t.Helper()
		must(t, d.PutDevice("r", registry.Device{ID: "d2", Credentials: known(), Aliases: aliases}))
	}
	send("attic/events", false)
	put(map[string]string{"attic/": "$devices/d2/"})
	send("attic/events", true)
	send("$devices/d2/events", true)
	publish(t, r, "attic/commands", "1")
	put(map[string]string{"cellar/": "$devices/d2/"})
	send("attic/events", false)
	send("cellar/events", true)
	publish(t, r, "$devices/d2/commands", "2")
	put(nil)
	send("cellar/events", false)
	send("$devices/d2/events", true)
	publish(t, connect(t, as(b, "d1", "c")), "$registries/r/events", "x")
	publish(t, r, "$devices/d1/commands", "x")

	event, attic, cellar := "$devices/d2/events x", "attic/events x", "cellar/events x"
	want := []string{attic, attic, cellar, event, event, event, event}
	eventually(t, "all have come", func() bool { in.mu.Lock(); defer in.mu.Unlock(); return len(in.list) >= len(want) })
	slices.Sort(want)
	in.mu.Lock()
	slices.Sort(in.list)
	if !slices.Equal(in.list, want) {
		t.Errorf("got %q, want %q", in.list, want)
	}
	in.mu.Unlock()
	if got := own.take(t, "cellar/commands 2"); got != "attic/commands 1" {
		t.Errorf("the device got %q", got)
	}
}

// keptOf are the names of what is kept, in the trees of somebody.
func keptOf(b *Broker, trees ...string) string {
	var list []string
	for _, tree := range trees {
		for topic, pk := range b.server.Topics.Retained.GetAll() {
			if strings.HasPrefix(topic, tree+"/") {
				list = append(list, unended(topic)+"="+string(pk.Payload))
			}
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// A kept message has the names of now, whenever it was published.
func TestNamesOfKeptMessages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broker.db")
	b, d := changeable(t, Config{File: file})
	d1, r := connect(t, as(b, "d1", "c")), connect(t, as(b, "r", "c"))
	put := func(aliases map[string]string) {
		t.Helper()
		must(t, d.PutDevice("r", registry.Device{ID: "d1", Credentials: known(), Aliases: aliases}))
	}
	check := func(what, want string) {
		t.Helper()
		if got := keptOf(b, "r", "d1", "d2"); got != want {
			t.Errorf("%s: kept\n%s, want\n%s", what, got, want)
		}
	}
	publish(t, d1, "kitchen/state", "on")
	publish(t, r, "kitchen/config/a", "5")
	wait(t, r.Publish("$devices/d1/commands", 1, true, "go"))
	wait(t, connect(t, as(b, "d2", "c")).Publish("$devices/d2/events", 1, true, "e"))
	const standard = "d1/$/$devices/d1/commands=go d1/$/$devices/d1/config/a=5 d1/$/$me/device/commands=go d1/$/$me/device/config/a=5 "
	const r1, r2 = " r/$/$devices/d1/state=on r/$/$devices/d2/events=e", " r/_/"
	check("at first", standard+"d1/_/kitchen/commands=go d1/_/kitchen/config/a=5"+r1+r2+"kitchen/state=on")
	put(map[string]string{"attic": "$devices/d1/config", "hall/": "$devices/d1/"})
	check("other aliases", standard+"d1/_/attic/a=5 d1/_/hall/commands=go d1/_/hall/config/a=5"+r1+r2+"hall/state=on")
	if _, in := subscriber(t, b, "r", "new", "hall/state", "kitchen/state"); in.take(t, "hall/state on (kept)") != "" {
		t.Error("by its old name, too")
	}
	put(nil)
	check("none", strings.TrimSpace(standard)+r1)
	put(map[string]string{"hall/": "$devices/d1/"})
	publish(t, r, "hall/config/a", "")
	wait(t, r.Publish("hall/commands", 1, true, ""))
	check("cleared", strings.TrimSpace(r1)+r2+"hall/state=on")

	// A restart with other aliases.
	closeBroker(t, b)
	cfg := labConfig()
	cfg.Registries[0].Devices[0].Aliases = map[string]string{"shed/": "$devices/d1/"}
	d = newDirectory(t, cfg)
	b = startBroker(t, Config{File: file, Directory: d}, nil)
	check("after a restart", strings.TrimSpace(r1)+r2+"shed/state=on")
	put(nil)
	check("changed after a restart", strings.TrimSpace(r1))
}

// What belongs to somebody who is removed goes with them, in memory and on disk; another of that ID begins anew.
func TestRemoved(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broker.db")
	b, d := changeable(t, Config{File: file})
	persistent := func(who, clientID string) (c *guest, present bool) {
		lost := make(chan struct{})
		c = &guest{paho.NewClient(as(b, who, clientID).SetCleanSession(false).SetConnectionLostHandler(func(paho.Client, error) { close(lost) })), lost}
		token := c.Connect()
		wait(t, token)
		t.Cleanup(func() { c.Disconnect(0) })
		return c, token.(*paho.ConnectToken).SessionPresent()
	}
	everyone := []string{"d1", "d2", "d3", "r", "other", "b"}
	for _, who := range everyone {
		away, _ := persistent(who, "away")
		filter := map[string]string{"r": "$devices/#", "other": "$devices/#", "b": "a"}[who]
		if filter == "" {
			filter = "$me/device/commands"
		}
		subscribe(t, away, filter, nil)
		away.Disconnect(250)
	}
	here := map[string]*guest{}
	for _, who := range everyone {
		here[who], _ = persistent(who, "here")
	}
	publish(t, here["r"], "$devices/d1/commands", "1")
	publish(t, here["d1"], "$devices/d1/state", "1")
	publish(t, here["d2"], "$devices/d2/state", "2")
	publish(t, here["d3"], "$devices/d3/state", "3")
	publish(t, here["r"], "$devices/d1/config", "1")
	publish(t, here["r"], "$registries/r/config", "r")
	wait(t, here["b"].Publish("a", 1, true, "b"))

	sessions := func() string {
		return strings.Join(slices.Sorted(maps.Keys(b.server.Clients.GetAll())), " ")
	}
	check := func(what, wantSessions, wantKept string) {
		t.Helper()
		eventually(t, what+": the sessions are "+wantSessions, func() bool { return sessions() == wantSessions })
		if got := keptOf(b, "r", "d1", "d2", "d3", "other", "b"); got != wantKept {
			t.Errorf("%s: kept\n%s, want\n%s", what, got, wantKept)
		}
	}
	d.Remove("d1")
	here["d1"].ends(t, "d1")
	const rest = "r/$/$devices/d2/state=2 r/devices/$/$me/registry/config=r r/devices/$/$registries/r/config=r"
	check("a device", "b/away b/here d2/away d2/here d3/away d3/here other/away other/here r/away r/here", "b/_/a=b other/$/$devices/d3/state=3 "+rest)
	d.Remove("b")
	here["b"].ends(t, "b")
	check("a broker", "d2/away d2/here d3/away d3/here other/away other/here r/away r/here", "other/$/$devices/d3/state=3 "+rest)
	d.Remove("other")
	here["other"].ends(t, "other")
	here["d3"].ends(t, "d3")
	check("a registry", "d2/away d2/here r/away r/here", rest)
	here["d2"].stays(t, "d2")
	here["r"].stays(t, "r")

	// Another of the same name, in another place.
	must(t, d.PutRegistry(registry.Registry{ID: "b", Credentials: known()}))
	must(t, d.PutDevice("b", registry.Device{ID: "d1", Credentials: known()}))
	for _, id := range []string{"away", "here"} {
		c, present := persistent("d1", id)
		if present {
			t.Error("d1 has the session of another d1")
		}
		c.Disconnect(250)
	}

	// It is gone from the file, too: it does not come back with those who had it.
	closeBroker(t, b)
	d = newDirectory(t, labConfig())
	b = startBroker(t, Config{File: file, Directory: d}, nil)
	check("after a restart", "d1/away d1/here d2/away d2/here r/away r/here", rest)
	if cl, _ := b.server.Clients.Get("d1/away"); cl.State.Subscriptions.Len() != 0 || cl.State.Inflight.Len() != 0 {
		t.Errorf("d1 has %v and %d messages", cl.State.Subscriptions.GetAll(), cl.State.Inflight.Len())
	}
	d.Remove("d2")
	check("a device that was there before", "d1/away d1/here r/away r/here", "r/devices/$/$me/registry/config=r r/devices/$/$registries/r/config=r")
}

// Who loses its password has a will all the same; who is removed has not.
func TestWillsAtTheEnd(t *testing.T) {
	b, d := changeable(t, Config{})
	_, in := subscriber(t, b, "r", "in", "$devices/+/state")
	for _, who := range []string{"d1", "d2"} {
		nc := dialRaw(t, b)
		p := connectPacket("mortal", true)
		p.UsernameFlag, p.Username, p.PasswordFlag, p.Password = true, who, true, []byte(password)
		p.WillFlag, p.WillTopic, p.WillMessage, p.WillQos, p.WillRetain = true, "$me/device/state", []byte("gone"), 1, true
		openRaw(t, nc, p)
	}
	session, _ := b.server.Clients.Get("d2/mortal")
	d.Remove("d2")
	<-connOf(session).ended
	must(t, d.PutDevice("r", registry.Device{ID: "d1"}))
	if got := in.take(t, "$devices/d1/state gone"); got != "" {
		t.Errorf("before it came %q", got)
	}
	eventually(t, "it is kept", func() bool { return keptOf(b, "r") == "r/$/$devices/d1/state=gone" })
}

func TestPublishForSomebody(t *testing.T) {
	file := filepath.Join(t.TempDir(), "broker.db")
	b, d := changeable(t, Config{File: file})
	_, r := subscriber(t, b, "r", "in", "$devices/+/#", "kitchen/#", "$registries/#")
	_, d1 := subscriber(t, b, "d1", "in", "$me/device/#", "kitchen/#", "$me/registry/commands")
	_, br := subscriber(t, b, "b", "in", "#")
	for _, m := range [][3]string{
		{"d1", "kitchen/events", "1"},
		{"d1", "$me/device/state", "2"},
		{"d2", "$registries/r/events", "last"},
		{"r", "$devices/d1/commands", "1"},
		{"r", "kitchen/config", "2"},
		{"r", "$registries/r/commands", "last"},
		{"b", "a/b", "last"},
	} {
		must(t, b.Publish(m[0], m[1], []byte(m[2])))
	}
	if got := r.take(t, "last"); got != "$devices/d1/events 1, kitchen/events 1, $devices/d1/state 2, kitchen/state 2" {
		t.Errorf("the registry got %q", got)
	}
	if got := d1.take(t, "last"); got != "$me/device/commands 1, kitchen/commands 1, $me/device/config 2, kitchen/config 2" {
		t.Errorf("the device got %q", got)
	}
	if got := br.take(t, "last"); got != "" {
		t.Errorf("the broker got %q", got)
	}
	if _, later := subscriber(t, b, "r", "later", "kitchen/state"); later.take(t, "kitchen/state 2 (kept)") != "" {
		t.Error("something else is kept")
	}

	must(t, d.PutBroker(registry.Broker{ID: "b2", Disabled: true}))
	for name, c := range map[string]struct {
		who, topic string
		payload    []byte
		want       error
	}{
		"unknown":       {"nobody", "a", nil, registry.ErrNotFound},
		"disabled":      {"b2", "a", nil, registry.ErrForbidden},
		"another's":     {"d1", "$devices/d2/events", nil, registry.ErrForbidden},
		"a reader's":    {"r", "$devices/d1/events", nil, registry.ErrForbidden},
		"no topic":      {"d1", "$devices/d1/x", nil, registry.ErrInvalid},
		"no alias":      {"d1", "attic/events", nil, registry.ErrInvalid},
		"a wildcard":    {"b", "a/#", nil, registry.ErrInvalid},
		"empty":         {"b", "", nil, registry.ErrInvalid},
		"a long one":    {"b", "a", make([]byte, maxPacketBytes), registry.ErrInvalid},
		"a broker's $":  {"b", "$devices/d1/events", nil, registry.ErrInvalid},
		"no such alias": {"r", "attic/commands", nil, registry.ErrInvalid},
	} {
		if err := b.Publish(c.who, c.topic, c.payload); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := startBroker(t, Config{}, nil).Publish("d1", "a", nil); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("without registries: %v", err)
	}
	nothingDropped(t, b)
}

// What is published for somebody is on disk when Publish returns.
func TestPublishIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	b, _ := changeable(t, Config{File: filepath.Join(dir, "broker.db")})
	sub := paho.NewClient(as(b, "r", "sub").SetCleanSession(false))
	wait(t, sub.Connect())
	subscribe(t, sub, "$devices/#", nil)
	sub.Disconnect(250)
	must(t, b.Publish("d1", "$devices/d1/events", []byte("1")))
	must(t, b.Publish("d1", "$devices/d1/state", []byte("2")))
	crashed := copyFile(t, filepath.Join(dir, "broker.db"), filepath.Join(dir, "crashed.db"))
	b2, _ := changeable(t, Config{File: crashed})
	if cl, ok := b2.server.Clients.Get("r/sub"); !ok || cl.State.Inflight.Len() != 1 {
		t.Error("the message is lost")
	}
	if got := keptOf(b2, "r"); got != "r/$/$devices/d1/state=2 r/_/kitchen/state=2" {
		t.Errorf("kept: %s", got)
	}
	closeBroker(t, b)
	if err := b.Publish("d1", "$devices/d1/events", nil); err == nil {
		t.Error("a closed broker has published")
	}
}

func TestActivity(t *testing.T) {
	b, d := changeable(t, Config{})
	if a, ok := b.Activity("d1"); !ok || a != (Activity{DeviceID: "d1", RegistryID: "r"}) {
		t.Errorf("at first %+v, %v", a, ok)
	}
	for _, who := range []string{"r", "b", "nobody"} {
		if a, ok := b.Activity(who); ok {
			t.Errorf("%s: %+v", who, a)
		}
	}
	c := newGuest(t, as(b, "d1", "c"))
	subscribe(t, c, "$me/device/commands", nil)
	a, _ := b.Activity("d1")
	if !a.Online || a.LastAuthIP != "127.0.0.1" || a.LastAuthTime.IsZero() || a.LastSubActivityTime.IsZero() || !a.LastPubActivityTime.IsZero() {
		t.Errorf("online %+v", a)
	}
	must(t, b.Publish("d2", "$devices/d2/events", nil))
	if a, _ := b.Activity("d2"); a.Online || a.LastPubActivityTime.IsZero() || !a.LastOnlineTime.IsZero() {
		t.Errorf("published for it: %+v", a)
	}
	session, _ := b.server.Clients.Get("d1/c")
	d.Remove("d1")
	c.ends(t, "d1")
	<-connOf(session).ended
	if a, ok := b.Activity("d1"); ok {
		t.Errorf("removed: %+v", a)
	}
	must(t, d.PutDevice("r", registry.Device{ID: "d1"}))
	if a, ok := b.Activity("d1"); !ok || a != (Activity{DeviceID: "d1", RegistryID: "r"}) {
		t.Errorf("another d1: %+v", a)
	}
}

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

// A session is not for another of the same ID, even if the removal of the one before has not been followed yet.
func TestSessionOfOneBefore(t *testing.T) {
	b, _ := changeable(t, Config{})
	present := func() bool {
		c := paho.NewClient(as(b, "d1", "c").SetCleanSession(false))
		token := c.Connect()
		wait(t, token)
		session, _ := b.server.Clients.Get("d1/c")
		c.Disconnect(250)
		<-connOf(session).ended
		return token.(*paho.ConnectToken).SessionPresent()
	}
	if present() || !present() {
		t.Error("there is no session")
	}
	b.hook.sessions.add("d1/c", registry.Principal{Role: registry.DeviceRole, ID: "d1", Registry: "other"})
	if present() {
		t.Error("d1 has the session of another d1")
	}
}

// The last message of somebody may be on its way when they are removed: it is not kept.
func TestNothingIsKeptOfTheRemoved(t *testing.T) {
	b, d := changeable(t, Config{})
	pk := mochi.Packet{FixedHeader: mochi.FixedHeader{Type: mochi.Publish, Retain: true}, Payload: []byte("x")}
	d.Remove("d2")
	b.hook.keep("d2/c", "r/$/$devices/d2/state", pk)
	d.Remove("b")
	b.hook.retain("b/_/a", pk)
	if got := keptOf(b, "r", "b"); got != "" {
		t.Errorf("kept: %s", got)
	}
}

// Nothing is remembered of clean sessions that have ended.
func TestSessionsEnd(t *testing.T) {
	b, _ := changeable(t, Config{})
	c := connect(t, as(b, "d1", "c"))
	subscribe(t, c, "$me/device/commands", nil)
	if all := b.hook.sessions.all("d1"); len(all) != 1 {
		t.Errorf("sessions %v", all)
	}
	connect(t, as(b, "d1", "c")) // takes it over
	c.Disconnect(0)
	connect(t, as(b, "d1", "c")).Disconnect(250)
	eventually(t, "it is forgotten", func() bool { return len(b.hook.sessions.all("d1")) == 0 })
}

// Whether it is told before the end or after, the last thing is done, and before anyone who waits for the end goes on.
func TestAtEnd(t *testing.T) {
	for _, late := range []bool{false, true} {
		_, server := net.Pipe()
		c := newConn(server)
		done := false
		if !late {
			c.atEnd(func() {
				select {
				case <-c.ended:
					t.Error("it has ended before")
				default:
				}
				done = true
			})
		}
		c.end()
		if late {
			c.atEnd(func() { done = true })
		}
		if !done {
			t.Errorf("late %v: not done", late)
		}
		_ = server.Close()
	}
}
