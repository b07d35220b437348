package control

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"google.golang.org/protobuf/proto"

	"github.com/iotcast/iotcast/internal/registry"
	"github.com/iotcast/iotcast/internal/state"
)

// BenchmarkCreateDevice is creating devices over gRPC, with each on disk before it is answered.
func BenchmarkCreateDevice(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers, "_callers"), func(b *testing.B) {
			d := newDesk(b)
			d.registry("home")
			var n atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for range callers {
				all.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						name := fmt.Sprintf("device-%08d", i)
						_, err := d.devices.Create(b.Context(), &devices.CreateDeviceRequest{
							RegistryId: "home", Name: name, TopicAliases: map[string]string{"alias-" + name + "/": "$devices/{id}/"},
						})
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// BenchmarkRestore is a start with 100,000 devices, each with an alias, a password and a certificate.
func BenchmarkRestore(b *testing.B) {
	const n = 100_000
	dir := b.TempDir()
	store, err := state.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	hash, err := registry.HashPassword(goodPassword)
	if err != nil {
		b.Fatal(err)
	}
	put := func(tx *state.Tx, kind state.Kind, key string, m proto.Message, private string) error {
		text, err := proto.Marshal(m)
		if err != nil {
			return err
		}
		return tx.Put(kind, key, state.Record{Resource: text, Private: []byte(private)})
	}
	err = store.Write(func(tx *state.Tx) error {
		if err := put(tx, state.Registries, "home", &devices.Registry{Id: "home", Name: "home"}, ""); err != nil {
			return err
		}
		for i := range n {
			id := fmt.Sprintf("device-%08d", i)
			err := put(tx, state.Devices, "home/"+id, &devices.Device{
				Id: id, RegistryId: "home", Name: id, CreatedAt: now(), TopicAliases: map[string]string{"alias-" + id + "/": "$devices/" + id + "/"},
			}, fmt.Sprintf(`{"passwords":[{"id":"1","created_at":"2026-01-01T00:00:00Z","hash":%q}],"certificates":[{"fingerprint":"%064x"}]}`, hash, i+1))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	_ = store.Close()
	for b.Loop() {
		before := heap()
		store, err := state.Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		directory := restored(b, store)
		b.StopTimer()
		b.ReportMetric(float64(heap()-before)/n, "B/device")
		runtime.KeepAlive(directory)
		if err := store.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func restored(b *testing.B, store *state.Store) *registry.Directory {
	b.Helper()
	cfg, err := Restored(store, registry.Config{})
	if err != nil {
		b.Fatal(err)
	}
	d, err := registry.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	return d
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
