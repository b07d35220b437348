package iotmqtt_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// TestPartition: two processes divide the devices, and lose none of their messages.
func TestPartition(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var parts [2]received
	for i := range parts {
		run(t, port, fmt.Sprintf("registry_id: r\nclient_id: part-%d\npartition: { index: %d, count: 2 }", i, i), parts[i].add)
	}
	const devices, each = 20, 5
	for n := range each {
		for d := range devices {
			publish(fmt.Sprintf("$devices/d%d/events/s%d", d, n), 1, fmt.Sprintf("%d:%d", d, n))
		}
	}
	eventually(t, func() bool { return len(parts[0].payloads())+len(parts[1].payloads()) == devices*each })
	owner := map[string]int{}
	for i := range parts {
		if len(parts[i].payloads()) == 0 {
			t.Errorf("part %d has got nothing", i)
		}
		for _, p := range parts[i].payloads() {
			device, _, _ := strings.Cut(p, ":")
			if other, seen := owner[device]; seen && other != i {
				t.Errorf("both parts have messages of device %s", device)
			}
			owner[device] = i
		}
	}
	if len(owner) != devices {
		t.Errorf("messages of %d devices have come, of %d", len(owner), devices)
	}
}

// TestPartitionStays: which part a device belongs to must never change, or an
// upgrade of one process after the other would lose messages.
func TestPartitionStays(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var got received
	run(t, port, "registry_id: r\npartition: { index: 1, count: 3 }", got.add)
	for d := range 12 {
		publish(fmt.Sprintf("$devices/d%d/events", d), 1, fmt.Sprint(d))
	}
	publish("$devices/d0/events", 1, "end") // FNV-1a (64 bits) of its ID, modulo 3, is 1
	eventually(t, func() bool { return slices.Contains(got.payloads(), "end") })
	if want := []string{"0", "3", "5", "11", "end"}; !slices.Equal(got.payloads(), want) {
		t.Errorf("%v, want %v", got.payloads(), want)
	}
}

// TestShareGroup: the broker gives each message to one of the group.
func TestShareGroup(t *testing.T) {
	_, port := startBroker(t)
	publish := publisher(t, port)
	var members [2]received
	for i := range members {
		run(t, port, fmt.Sprintf("broker_id: b\nclient_id: member-%d\nshare_group: g", i), members[i].add)
	}
	const messages = 100
	for i := range messages {
		publish("t", 1, fmt.Sprint(i))
	}
	eventually(t, func() bool { return len(members[0].payloads())+len(members[1].payloads()) >= messages })
	all := slices.Concat(members[0].payloads(), members[1].payloads())
	slices.Sort(all)
	if len(slices.Compact(all)) != messages {
		t.Error("some messages have come twice, and others not at all")
	}
}

// TestShareGroupOfDollarTopics: what a broker may grant in vain is told.
func TestShareGroupOfDollarTopics(t *testing.T) {
	_, port := startBroker(t)
	logs := run(t, port, "registry_id: r\nshare_group: g", new(received).add)
	logs.waitFor(t, "set partition instead of share_group")
}

func TestSharingIsChecked(t *testing.T) {
	const kept = "client_id: c\nclean_session: false\n"
	linter := service.GlobalEnvironment().NewComponentConfigLinter()
	for yaml, want := range map[string]string{
		"share_group: g":                                               "",
		"partition: { index: 1, count: 2 }":                            "",
		"topics: [ $share/g/a ]":                                       "",
		"share_group: a/b":                                             "share_group must not hold",
		"partition: { index: 2, count: 2 }":                            "partition.index must be",
		"partition: { index: -1, count: 2 }":                           "partition.index must be",
		"partition: { index: 0, count: 0 }":                            "partition.index must be",
		"share_group: g\ntopics: [ $share/g/a ]":                       "keep one of them",
		"share_group: g\npartition: { index: 0, count: 2 }":            "a message would be lost",
		"topics: [ $share/g/a ]\npartition: { index: 0, count: 2 }":    "a message would be lost",
		"topics: [ a, $share/g/a ]\npartition: { index: 0, count: 1 }": "",

		kept + "leases: { parts: 8 }":                              "",
		"leases: { parts: 0 }":                                     "",
		"leases: { parts: 8 }":                                     "leases.parts needs clean_session: false",
		kept + "qos: 0\nleases: { parts: 8 }":                      "leases.parts needs qos 1 or 2",
		kept + "share_group: g\nleases: { parts: 8 }":              "keep one way to share",
		kept + "topics: [ $share/g/a ]\nleases: { parts: 8 }":      "keep one way to share",
		kept + "partition: { count: 2 }\nleases: { parts: 8 }":     "keep one way to share",
		kept + "leases: { parts: -1 }":                             "leases.parts must be",
		kept + "leases: { parts: 8, duration: 1s }":                "leases.duration must be at least 3s",
		kept + "leases: { parts: 8, bucket: a.b }":                 "leases.bucket must be made of",
		kept + "leases: { parts: 8, replicas: 6 }":                 "leases.replicas must be",
		kept + "leases: { parts: 8, auth: { token: t, user: u } }": "auth takes one way to log in",
	} {
		full := "urls: [ tcp://localhost:1883 ]\nbroker_id: b\n" + yaml
		lints, err := linter.LintInputYAML([]byte("iot_mqtt:\n" + indent(full)))
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, l := range lints {
			said = append(said, l.Error())
		}
		if got := strings.Join(said, "\n"); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%q: lint says %q, want %q", yaml, got, want)
		}
		if want == "" {
			continue
		}
		// Lints can be switched off.
		b := service.NewStreamBuilder()
		b.DisableLinting()
		b.SetLogger(slog.New(newLogBook()))
		if err := errors.Join(b.AddInputYAML("iot_mqtt:\n"+indent(full)), b.AddOutputYAML("drop: {}")); err != nil {
			t.Fatal(err)
		}
		s, err := b.Build()
		if err == nil {
			err = s.Run(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", yaml, err, want)
		}
	}
}
