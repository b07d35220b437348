package devbroker

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

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
