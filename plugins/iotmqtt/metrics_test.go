package iotmqtt_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// gauges is a metrics exporter that keeps the value of each gauge and counter.
type gauges struct{ values *sync.Map }

type gauge struct{ bits atomic.Uint64 }

func (g *gauge) Set(v int64)          { g.SetFloat64(float64(v)) }
func (g *gauge) SetFloat64(v float64) { g.bits.Store(math.Float64bits(v)) }

type counter struct{ n atomic.Int64 }

func (c *counter) Incr(by int64) { c.n.Add(by) }

type nothing struct{}

func (nothing) Timing(int64) {}

func (g gauges) NewCounterCtor(name string, _ ...string) service.MetricsExporterCounterCtor {
	return func(...string) service.MetricsExporterCounter {
		v, _ := g.values.LoadOrStore(name, new(counter))
		return v.(*counter)
	}
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
	if c, ok := v.(*counter); ok {
		return float64(c.n.Load())
	}
	return math.Float64frombits(v.(*gauge).bits.Load())
}

// measure runs a stream and returns its metrics.
func measure(t *testing.T, port, fields string, consume service.MessageBatchHandlerFunc) gauges {
	t.Helper()
	exporter := gauges{new(sync.Map)}
	env := service.NewEnvironment()
	export := func(*service.ParsedConfig, *service.Logger) (service.MetricsExporter, error) { return exporter, nil }
	if err := env.RegisterMetricsExporter("gauges", service.NewConfigSpec(), export); err != nil {
		t.Fatal(err)
	}
	b := env.NewStreamBuilder()
	if err := b.SetMetricsYAML("gauges: {}"); err != nil {
		t.Fatal(err)
	}
	s, logs := newStream(t, b, "urls: [ tcp://127.0.0.1:"+port+" ]\n"+fields, consume)
	runStream(t, s)
	logs.waitFor(t, "on the MQTT broker")
	return exporter
}

// TestUnackedMetrics: they tell how much waits and for how long while the output
// hangs, when nothing else happens in the input, and fall to zero when it goes on.
func TestUnackedMetrics(t *testing.T) {
	t.Parallel()
	_, port := startBroker(t)
	publish := publisher(t, port)
	hang := make(chan struct{})
	exporter := measure(t, port, "broker_id: b", func(context.Context, service.MessageBatch) error { <-hang; return nil })
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

// TestStoppedStreamCounts what it has received and the broker will not send again: what
// is gathered, and what was rejected and is held back.
func TestStoppedStreamCounts(t *testing.T) {
	t.Parallel()
	_, port := startBroker(t)
	publish := publisher(t, port)
	down := func(context.Context, service.MessageBatch) error { return errors.New("down") }
	for name, tc := range map[string]struct {
		fields string
		want   float64
	}{
		"gathered":                {"qos: 0\nbatching: { count: 100, period: 600s }", 7},
		"rejected at QoS 0":       {"qos: 0", 7},
		"of a clean session":      {"qos: 1", 7},
		"of a persistent session": {"qos: 1\nclean_session: false\nclient_id: c", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var exporter gauges
			t.Run("stream", func(t *testing.T) {
				exporter = measure(t, port, "broker_id: b\n"+tc.fields, down)
				for range 7 {
					publish("t", 1, "x")
				}
				eventually(t, func() bool { return exporter.value("iot_mqtt_unacked") == 7 })
			})
			if got := exporter.value("iot_mqtt_dropped"); got != tc.want {
				t.Errorf("%v messages were dropped, want %v", got, tc.want)
			}
			if got := exporter.value("iot_mqtt_unacked"); got != 0 {
				t.Errorf("%v messages are held", got)
			}
		})
	}
}
