package devbroker

import (
	"testing"

	"github.com/iotcast/iotcast/internal/registry"
)

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
