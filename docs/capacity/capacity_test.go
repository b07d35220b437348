package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// TestPage fails when the page is not what the program would write.
func TestPage(t *testing.T) {
	if err := run("../capacity.md", true); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(stale, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	if run(stale, true) == nil {
		t.Error("a stale page is accepted")
	}
}

// TestPlan: more of anything never needs less, and the spare gateways are there.
func TestPlan(t *testing.T) {
	base := loads[1]
	small := plan(base, machine, measured)
	for name, change := range map[string]func(*Load){
		"connections": func(l *Load) { l.Connections *= 10 },
		"routes":      func(l *Load) { l.Routes *= 20 },
		"rate":        func(l *Load) { l.Rate *= 5 },
	} {
		l := base
		change(&l)
		large := plan(l, machine, measured)
		if large.Gateways < small.Gateways || large.NATSCores < small.NATSCores ||
			large.Triggers < small.Triggers || large.NATSServers < small.NATSServers {
			t.Errorf("more %s: %+v, less %+v", name, large, small)
		}
	}
	for _, l := range loads {
		p := plan(l, machine, measured)
		if (p.Gateways-l.Groups)*p.PerGateway < l.Connections {
			t.Errorf("%d connections have no room on %d gateways when one of each group is gone", l.Connections, p.Gateways)
		}
		if p.ReadShare > 0.5 {
			t.Errorf("%d connections: a gateway would read %.0f %% of what it can", l.Connections, 100*p.ReadShare)
		}
	}
}

// TestSimulation: all come back, not before the last has tried, and the others bear
// it. With gateways that are full to the brim they do not.
func TestSimulation(t *testing.T) {
	for _, l := range loads {
		p := plan(l, machine, measured)
		o := simulate(l, p, machine, measured)
		if o.Moved == 0 || o.Seconds < 0.9*retryWithin || o.Seconds > 2*retryWithin || o.Peak > 1 {
			t.Errorf("%d connections: %+v", l.Connections, o)
		}
	}
	full := machine
	full.Cores = 1.1
	p := plan(loads[1], machine, measured)
	if o := simulate(loads[1], p, full, measured); o.Seconds < 2*retryWithin || math.Abs(o.Peak-1) > 0.01 {
		t.Errorf("gateways without room: %+v", o)
	}
}
