package tests

import (
	"slices"
	"testing"
	"time"
)

// TestClusterPartitions: while messages flow, the network between two tiers loses
// everything, without a word, for some time ($CLUSTER_PARTITION, or 4 s). When it is
// back every client gets every message, those of a device in order, and is told of no
// gap.
func TestClusterPartitions(t *testing.T) {
	const clients, every = 100, 5 * time.Millisecond
	partition := fromEnvironment(t, "CLUSTER_PARTITION", 4*time.Second, time.ParseDuration)
	c := startClusterOnMachines(t, 2, "a", "b", "c")
	s := startSwarm(t, clients, "ws://"+c.balancer+"/telemetry")
	nats := []string{"nats-0", "nats-1", "nats-2"}
	others := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(nats), func(other string) bool { return other == name })
	}
	faults := []struct {
		name string
		cut  func() (machine string, from []string)
	}{
		{"the NATS server that leads from the others", func() (string, []string) {
			leader := nats[c.leader()]
			return leader, others(leader)
		}},
		{"a NATS server that does not lead from the others", func() (string, []string) {
			lone := nats[(c.leader()+1)%len(nats)]
			return lone, others(lone)
		}},
		{"a gateway from NATS", func() (string, []string) { return "gateway-b", nats }},
		{"a trigger from NATS", func() (string, []string) { return "trigger-0", nats }},
		{"a trigger from MQTT", func() (string, []string) { return "trigger-1", []string{""} }},
	}
	flowing := time.Second
	messages := int((partition + flowing) * time.Duration(len(faults)) / every)
	p := c.publishSteadily(t, messages, every)
	for i, f := range faults {
		p.wait(t, messages*i/len(faults)+int(flowing/every))
		machine, from := f.cut()
		var mends []func()
		for _, other := range from {
			mends = append(mends, c.machines.cut(machine, other))
		}
		began := time.Now()
		p.wait(t, messages*(i+1)/len(faults))
		for _, mend := range mends {
			mend()
		}
		t.Logf("%s was cut off for %v", f.name, time.Since(began).Round(time.Millisecond))
	}
	s.complete(t, messages)
}
