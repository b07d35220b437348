package iottrigger

import (
	"fmt"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"
)

func benchBatch(count int) service.MessageBatch {
	batch := make(service.MessageBatch, count)
	for i := range batch {
		batch[i] = message(fmt.Sprintf("%064d", i))
	}
	return batch
}

func reportPerMessage(b *testing.B, count int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(count), "ns/msg")
}

func BenchmarkProcessBatch(b *testing.B) {
	for _, count := range []int{1, 100} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			p := build(b, "{}")
			batch := benchBatch(count)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.ProcessBatch(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			reportPerMessage(b, count)
		})
	}
}

// BenchmarkBloblangMapping writes the same device envelopes with the mapping that one would write without this processor.
func BenchmarkBloblangMapping(b *testing.B) {
	mapping, err := bloblang.Parse(`root.messages = range(0, batch_size()).map_each(i -> {
  "event_metadata": {
    "event_id": metadata("iot_event_id").from(i),
    "event_type": "yandex.cloud.events.iot.IoTMessage",
    "created_at": metadata("iot_received_at").from(i)
  },
  "details": {
    "registry_id": metadata("iot_registry_id").from(i),
    "device_id": metadata("mqtt_topic").from(i).split("/").index(1),
    "mqtt_topic": metadata("mqtt_topic").from(i),
    "payload": content().from(i).encode("base64")
  }
})`)
	if err != nil {
		b.Skip(err)
	}
	for _, count := range []int{1, 100} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			batch := benchBatch(count)
			b.ReportAllocs()
			for b.Loop() {
				out, err := batch.BloblangExecutor(mapping).Query(0)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := out.AsBytes(); err != nil {
					b.Fatal(err)
				}
			}
			reportPerMessage(b, count)
		})
	}
}
