package iotmqtt_test

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// gauges is a metrics exporter that keeps the latest value of each gauge.
type gauges struct{ values *sync.Map }

type gauge struct{ bits atomic.Uint64 }

func (g *gauge) Set(v int64)          { g.SetFloat64(float64(v)) }
func (g *gauge) SetFloat64(v float64) { g.bits.Store(math.Float64bits(v)) }

type nothing struct{}

func (nothing) Incr(int64)   {}
func (nothing) Timing(int64) {}

func (gauges) NewCounterCtor(string, ...string) service.MetricsExporterCounterCtor {
	return func(...string) service.MetricsExporterCounter { return nothing{} }
}

func (gauges) NewTimerCtor(string, ...string) service.MetricsExporterTimerCtor {
	return func(...string) service.MetricsExporterTimer { return nothing{} }
}

func (g gauges) NewGaugeCtor(name string, _ ...string) service.MetricsExporterGaugeCtor {
	return func(...string) service.MetricsExporterGauge {
		v, _ := g.values.LoadOrStore(name, new(gauge))
		return v.(*gauge)
	}
}

func (gauges) Close(context.Context) error { return nil }

func (g gauges) value(name string) float64 {
	v, ok := g.values.Load(name)
	if !ok {
		return math.NaN()
	}
	return math.Float64frombits(v.(*gauge).bits.Load())
}

// TestUnackedMetrics: they tell how much waits and for how long while the output
// hangs, when nothing else happens in the input, and fall to zero when it goes on.
func TestUnackedMetrics(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	exporter := gauges{new(sync.Map)}
	env := service.NewEnvironment()
	if err := env.RegisterMetricsExporter("gauges", service.NewConfigSpec(), func(*service.ParsedConfig, *service.Logger) (service.MetricsExporter, error) {
		return exporter, nil
	}); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	logs := newLogBook()
	b.SetLogger(slog.New(logs))
	hang := make(chan struct{})
	for _, err := range []error{
		b.SetMetricsYAML("gauges: {}"),
		b.AddInputYAML("iot_mqtt: { urls: [ tcp://127.0.0.1:" + port + " ], broker_id: b }"),
		b.AddBatchConsumerFunc(func(context.Context, service.MessageBatch) error { <-hang; return nil }),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := s.StopWithin(5 * time.Second); err != nil {
			t.Error(err)
		}
		<-ended
	})
	logs.waitFor(t, "Subscribed")
	for range 3 {
		publish("t", 1, "x")
	}
	eventually(t, func() bool {
		return exporter.value("iot_mqtt_unacked") == 3 && exporter.value("iot_mqtt_oldest_unacked_seconds") > 1
	})
	close(hang)
	eventually(t, func() bool {
		return exporter.value("iot_mqtt_unacked") == 0 && exporter.value("iot_mqtt_oldest_unacked_seconds") == 0
	})
}
