package rows

import (
	"fmt"
	"time"

	"github.com/iotcast/iotcast/tests/bench/internal/lab"
	"github.com/iotcast/iotcast/tests/bench/internal/publisher"
	"github.com/iotcast/iotcast/tests/bench/internal/report"
)

const (
	inputMessages = 200_000
	inputUnacked  = 1000 // by the broker, at QoS 1
)

// The inputs by how the tables name them, each with its fields.
const (
	inputOurs    = "iot_mqtt"
	inputMQTT5   = "iot_mqtt, MQTT 5"
	inputBatches = "iot_mqtt, batches of 100"
	inputConnect = "mqtt"
)

func inputFields(name string, qos int) lab.Map {
	switch name {
	case inputMQTT5:
		return lab.Map{"qos": qos, "protocol": "5"}
	case inputBatches:
		return lab.Map{"qos": qos, "batching": lab.Map{"count": 100, "period": "100ms"}}
	case inputConnect:
		return lab.Map{"mqtt": lab.Map{"qos": qos}}
	}
	return lab.Map{"qos": qos}
}

// input: what it costs to take a message in, against the input that Redpanda
// Connect has for the same protocol, in the same binary. Both drop it.
func input(b *Bench) error {
	if len(b.pick([]string{iotcast})) == 0 {
		return nil
	}
	inputs := []string{inputOurs, inputMQTT5, inputBatches, inputConnect}
	key := func(qos int, name string) report.Key {
		return report.Key{Row: "input", Case: fmt.Sprintf("QoS %d", qos), Peer: name}
	}
	err := b.repeat(func(repetition int) error {
		for _, qos := range []int{0, 1} {
			for _, name := range inputs {
				b.measure(key(qos, name), repetition, func() (report.Values, error) { return b.take(name, qos) })
			}
		}
		return nil
	})
	b.title("input: an input and `drop`, messages of %d bytes", payload)
	b.Report.Table(b.Out, "input", []report.Column{
		{Title: "CPU s a million", Value: "cpu", Format: "%.2f", Spread: true},
		{Title: "to mqtt", Value: "cpu", Base: inputConnect},
		{Title: "messages a second", Value: "rate", Format: "%.0fk", Scale: 1e-3, Spread: true},
	})
	for _, qos := range []int{0, 1} {
		ours, connect := key(qos, inputOurs), key(qos, inputConnect)
		b.judge("input", fmt.Sprintf("CPU to mqtt, QoS %d", qos), ours, connect, "cpu", 0.5)
		b.judge("input", fmt.Sprintf("CPU in batches to mqtt, QoS %d", qos), key(qos, inputBatches), connect, "cpu", 0.25)
		b.judge("input", fmt.Sprintf("CPU of MQTT 5 to 3.1.1, QoS %d", qos), key(qos, inputMQTT5), ours, "cpu", 1.05)
	}
	b.Report.PrintGoals(b.Out, "input")
	return err
}

func (b *Bench) take(name string, qos int) (report.Values, error) {
	site, err := b.Lab.StartIotcast(lab.Options{Input: inputFields(name, qos), Drop: true, Metrics: true})
	if err != nil {
		return nil, err
	}
	devices, err := b.Lab.StartPublisher(publisher.Config{Broker: site.Broker, Topic: site.Publish, QoS: byte(qos), Size: payload})
	if err != nil {
		return nil, err
	}
	messages := inputMessages
	if b.Quick {
		messages /= 20
	}
	send := func(n int) error {
		_, err := devices.Obey(publisher.Order{Count: n, Unacked: inputUnacked * qos})
		return err
	}
	// The way is open when the first arrives; then the warm-up.
	for begun := time.Now(); ; {
		if err := send(1); err != nil {
			return nil, err
		}
		if n, err := site.Metric("input_received", ""); err == nil && n > 0 {
			break
		}
		if time.Since(begun) > 20*time.Second {
			return nil, fmt.Errorf("%s gets nothing: %s", name, "is the subscription there?")
		}
		if err := b.Lab.Sleep(50 * time.Millisecond); err != nil {
			return nil, err
		}
	}
	if err := send(messages / 10); err != nil {
		return nil, err
	}
	warm, err := b.settled(site, 0)
	if err != nil {
		return nil, err
	}

	before, err := site.CPU()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := send(messages); err != nil {
		return nil, err
	}
	all, err := b.settled(site, warm+float64(messages))
	if err != nil {
		return nil, err
	}
	took := time.Since(begun)
	after, err := site.CPU()
	if err != nil {
		return nil, err
	}
	if all-warm != float64(messages) {
		return nil, fmt.Errorf("of %d messages %.0f were received", messages, all-warm)
	}
	return report.Values{
		"cpu":  (after - before).Seconds() / float64(messages) * 1e6,
		"rate": float64(messages) / took.Seconds(),
	}, nil
}

// settled waits until enough messages were received, or no more come. It asks
// seldom: asking costs the process that is measured.
func (b *Bench) settled(site *lab.Site, enough float64) (received float64, err error) {
	const quiet = 4 // times without a change
	for still := 0; still < quiet; still++ {
		if err := b.Lab.Sleep(150 * time.Millisecond); err != nil {
			return 0, err
		}
		n, err := site.Metric("input_received", "")
		if err != nil {
			return 0, err
		}
		if n > received {
			received, still = n, 0
		}
		if enough > 0 && received >= enough {
			break
		}
	}
	return received, nil
}
