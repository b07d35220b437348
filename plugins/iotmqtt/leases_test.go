package iotmqtt_test

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/reserve"
)

// startNATS starts a nats-server with JetStream and returns its URL.
func startNATS(t *testing.T) (url string) {
	t.Helper()
	address, err := reserve.Address()
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath("nats-server")
	if err != nil {
		path = filepath.Join("/usr/sbin", "nats-server") // which is not in everyone's PATH
	}
	host, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(path, "-a", host, "-p", port, "-js", "-sd", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal("nats-server is needed: apt-get install nats-server: ", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, func() bool {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "nats://" + address
}

// TestLeases: a second stream takes its share of the parts, and the first takes them
// back when that one has stopped. All messages come, each device's in order.
func TestLeases(t *testing.T) {
	_, port := startBroker(t)
	fields := fmt.Sprintf("urls: [ tcp://127.0.0.1:%s ]\nregistry_id: r\nclient_id: shared\nclean_session: false\nleases: { parts: 4, duration: 5s, urls: [ %s ] }", port, startNATS(t))
	publish := publisher(t, port)
	const devices = 12
	rounds := 0
	round := func() {
		for d := range devices {
			publish(fmt.Sprintf("$devices/d%d/events", d), 1, fmt.Sprintf("d%d:%03d", d, rounds))
		}
		rounds++
	}
	var got received
	all := func() bool {
		distinct := make(map[string]bool)
		for _, p := range got.payloads() {
			distinct[p] = true
		}
		return len(distinct) == rounds*devices
	}

	first := build(t, fields, got.add)
	eventually(t, func() bool { return first.count("Subscribed on the MQTT broker") == 4 })
	round()
	s, second := newStream(t, service.NewStreamBuilder(), fields, got.add)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	eventually(t, func() bool { return second.count("Resumed the session on the MQTT broker") == 2 })
	round()
	eventually(t, all)
	round()
	if err := s.StopWithin(5 * time.Second); err != nil {
		t.Error(err)
	}
	<-ended
	round()
	eventually(t, all)
	eventually(t, func() bool { return first.count("Resumed the session on the MQTT broker") == 2 })

	last := make(map[string]string)
	seen := make(map[string]bool)
	for _, p := range got.payloads() {
		device, _, _ := strings.Cut(p, ":")
		if !seen[p] && p < last[device] {
			t.Errorf("%s came after %s", p, last[device])
		}
		seen[p], last[device] = true, max(p, last[device])
	}
}

// TestLeasesConnectionTest: both the broker and NATS are tried, and what fails is named.
func TestLeasesConnectionTest(t *testing.T) {
	_, port := startBroker(t)
	nats := startNATS(t)
	for _, tc := range []struct{ mqtt, nats, want string }{
		{port, nats, ""},
		{port, "nats://127.0.0.1:1", "connecting to NATS"},
		{"1", nats, "connecting to MQTT broker"},
	} {
		spec := service.NewConfigSpec().Field(service.NewInputField("input"))
		conf, err := spec.ParseYAML(fmt.Sprintf(`
input:
  iot_mqtt:
    urls: [ tcp://127.0.0.1:%s ]
    registry_id: r
    client_id: c
    clean_session: false
    leases: { parts: 2, urls: [ %s ] }
`, tc.mqtt, tc.nats), nil)
		if err != nil {
			t.Fatal(err)
		}
		in, err := conf.FieldInput("input")
		if err != nil {
			t.Fatal(err)
		}
		results := in.ConnectionTest(t.Context())
		if len(results) != 1 {
			t.Fatal(results)
		}
		if err := results[0].Err; (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
}
