package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"testing"
)

// largeFleet is a registry with a hundred thousand devices, each with a password, a certificate and an alias.
func largeFleet() Config {
	r := Registry{ID: "fleet", Devices: make([]Device, 100_000)}
	for i := range r.Devices {
		r.Devices[i] = fleetDevice(i)
	}
	return Config{Registries: []Registry{r}}
}

func fleetDevice(i int) Device {
	id := fmt.Sprintf("device-%06d", i*7919%1_000_000)
	sum := sha256.Sum256([]byte(id))
	return Device{
		ID:      id,
		Aliases: map[string]string{"hall/" + id[len("device-"):] + "/": "$devices/" + id + "/"},
		Credentials: Credentials{
			PasswordHashes: []string{fmt.Sprintf("$2a$04$EuxNHLzXxTw1SSIjSOspcuLNEoDiJ3HedcSLP9H3Sk/5J.Nf%06d", i)},
			Fingerprints:   []string{hex.EncodeToString(sum[:])},
		},
	}
}

func BenchmarkNew100000(b *testing.B) {
	cfg := largeFleet()
	for b.Loop() {
		if _, err := New(cfg); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	cfg.Registries = nil
	before := heap()
	d, err := New(largeFleet()) // with the strings of the config that it goes on to use
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(heap()-before)/100_000, "heap-B/device")
	runtime.KeepAlive(d)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// With a hundred thousand others there.
func BenchmarkPutDevice(b *testing.B) {
	d, err := New(largeFleet())
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"new", "replaced"} {
		b.Run(name, func(b *testing.B) {
			i := 0
			for b.Loop() {
				dev := fleetDevice(100_000 + i%50_000)
				i++
				if err := d.PutDevice("fleet", dev); err != nil {
					b.Fatal(err)
				}
				if name == "new" {
					d.Remove(dev.ID)
				}
			}
		})
	}
}

func BenchmarkReading(b *testing.B) {
	d, err := New(largeFleet())
	if err != nil {
		b.Fatal(err)
	}
	device, _ := d.Principal("device-007919")
	parallel := func(name string, one func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					one()
				}
			})
		})
	}
	parallel("Resolve", func() {
		if d.Resolve("fleet", "hall/007919/events") == "" {
			b.Fail()
		}
	})
	parallel("Publish", func() {
		if _, err := d.Publish(device, "hall/007919/events"); err != nil {
			b.Error(err)
		}
	})
}

func BenchmarkLogin(b *testing.B) {
	cfg := largeFleet()
	hash, err := HashPassword("Correct-Horse-1")
	if err != nil {
		b.Fatal(err)
	}
	cfg.Registries[0].PasswordHashes = []string{hash}
	d, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	login := Login{User: "fleet", Password: []byte("Correct-Horse-1")}
	if _, _, err := d.Authenticate(login); err != nil { // and is remembered
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := d.Authenticate(login); err != nil {
				b.Error(err)
			}
		}
	})
}
