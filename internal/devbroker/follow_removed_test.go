package devbroker

import (
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

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
