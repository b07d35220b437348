package devbroker

import (
	"fmt"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/iotcast/iotcast/internal/registry"
)

// A change costs what it is about, and not what there is beside: with ten thousand sessions that wait and as many kept
// messages, each with an alias.
func BenchmarkFollow(b *testing.B) {
	const many = 10_000
	fleet := registry.Registry{ID: "fleet"}
	device := func(i int) registry.Device {
		id := fmt.Sprintf("d%06d", i)
		return registry.Device{ID: id, Aliases: map[string]string{"hall/" + id + "/": "$devices/" + id + "/"}}
	}
	for i := range many {
		fleet.Devices = append(fleet.Devices, device(i))
	}
	d := newDirectory(b, registry.Config{Registries: []registry.Registry{fleet}})
	broker, err := start(Config{Address: "127.0.0.1:0", Directory: d}, nil, 10) // with small sessions
	if err != nil {
		b.Fatal(err)
	}
	defer closeBroker(b, broker)
	h := broker.hook
	have := func(i int) {
		id := device(i).ID
		p, _ := d.Principal(id)
		cl := h.server.NewClient(nil, "", sessionID(p, "c"), false)
		cl.Properties.Username = []byte(id)
		cl.Stop(packets.ErrServerShuttingDown)
		h.server.Clients.Add(cl)
		h.sessions.add(cl.ID, p)
		h.keep(cl.ID, "fleet/$/$devices/"+id+"/state", packets.Packet{Payload: []byte("on")})
	}
	for i := range many {
		have(i)
	}
	b.Run("replaced", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i++
			if err := d.PutDevice("fleet", device(i%many)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("removed and made again", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i++
			d.Remove(device(i % many).ID)
			if err := d.PutDevice("fleet", device(i%many)); err != nil {
				b.Fatal(err)
			}
			have(i % many)
		}
	})
}
