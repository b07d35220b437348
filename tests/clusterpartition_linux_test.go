package tests

import (
	"os"
	"testing"
	"time"
)

// TestClusterPartitions: while messages flow, the network between two tiers loses
// everything, without a word, for some time ($CLUSTER_PARTITION, or 4 s). When it is
// back every client gets every message, those of a device in order, and is told of no
// gap.
func TestClusterPartitions(t *testing.T) {
	const clients, every = 100, 5 * time.Millisecond
	partition := 4 * time.Second
	if s := os.Getenv("CLUSTER_PARTITION"); s != "" {
		var err error
		if partition, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	c := startClusterOnMachines(t, 2, "a", "b", "c")
	s := startSwarm(t, clients, "ws://"+c.balancer+"/telemetry")
	nats := []string{"nats-0", "nats-1", "nats-2"}
	// One that does not lead: see "A leader that is cut off" in docs/cluster.md.
	lone := (c.leader() + 1) % len(nats)
	others := []string{nats[(lone+1)%len(nats)], nats[(lone+2)%len(nats)]}
	faults := []struct {
		name, machine string
		from          []string
	}{
		{"one NATS server from the others", nats[lone], others},
		{"a gateway from NATS", "gateway-b", nats},
		{"a trigger from NATS", "trigger-0", nats},
		{"a trigger from MQTT", "trigger-1", []string{""}},
	}
	flowing := time.Second
	messages := int((partition + flowing) * time.Duration(len(faults)) / every)
	p := c.publishSteadily(t, messages, every)
	for i, f := range faults {
		p.wait(t, messages*i/len(faults)+int(flowing/every))
		var mends []func()
		for _, other := range f.from {
			mends = append(mends, c.machines.cut(f.machine, other))
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
