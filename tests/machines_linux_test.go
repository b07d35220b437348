package tests

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// machines are network namespaces on one bridge, and a link from there to this
// process: each has an address of its own, and what goes from one to another can be
// lost without a word, as where a cable is cut.
type machines struct {
	t       *testing.T
	prefix  string // of the names of namespaces
	network string // the first three bytes of all addresses
	names   []string
}

// newMachines makes a namespace for each name. The network is one that no other test
// takes.
func newMachines(t *testing.T, network string, names ...string) *machines {
	t.Helper()
	m := &machines{t: t, prefix: fmt.Sprintf("ic%d-", os.Getpid()), network: network, names: names}
	bridge := m.prefix + "switch"
	m.ip("netns", "add", bridge)
	t.Cleanup(func() { m.ip("netns", "delete", bridge) })
	m.ip("-n", bridge, "link", "add", "bridge", "type", "bridge")
	m.ip("-n", bridge, "link", "set", "bridge", "up")
	link := fmt.Sprintf("ic%d", os.Getpid())
	m.ip("link", "add", link, "type", "veth", "peer", "name", "here", "netns", bridge)
	m.ip("address", "add", m.here()+"/24", "dev", link)
	m.ip("link", "set", link, "up")
	m.plug(bridge, "here")
	for i, name := range names {
		port := fmt.Sprintf("port%d", i)
		m.ip("netns", "add", m.prefix+name)
		t.Cleanup(func() { m.ip("netns", "delete", m.prefix+name) })
		m.ip("-n", m.prefix+name, "link", "set", "lo", "up")
		m.ip("-n", m.prefix+name, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", bridge)
		m.ip("-n", m.prefix+name, "address", "add", m.address(name)+"/24", "dev", "eth0")
		m.ip("-n", m.prefix+name, "link", "set", "eth0", "up")
		m.plug(bridge, port)
	}
	return m
}

func (m *machines) plug(bridge, port string) {
	m.ip("-n", bridge, "link", "set", port, "master", "bridge")
	m.ip("-n", bridge, "link", "set", port, "up")
}

func (m *machines) ip(args ...string) {
	m.t.Helper()
	if out, err := exec.Command(toolPath("ip"), args...).CombinedOutput(); err != nil {
		m.t.Fatalf("ip %s: %v: this test needs iproute2 and root: %s", strings.Join(args, " "), err, out)
	}
}

// here is the address of this process.
func (m *machines) here() string { return m.network + ".1" }

// address is that of a machine; "" is this process.
func (m *machines) address(name string) string {
	for i, other := range m.names {
		if other == name {
			return fmt.Sprintf("%s.%d", m.network, i+2)
		}
	}
	return m.here()
}

// port is an address of a service on a machine.
func (m *machines) port(name, port string) string { return net.JoinHostPort(m.address(name), port) }

// on is a command line on a machine.
func (m *machines) on(name string, args []string) []string {
	return append([]string{toolPath("ip"), "netns", "exec", m.prefix + name}, args...)
}

// cut loses what goes between two machines, in both directions: each sends it to a
// link address that nobody has. The result ends that.
func (m *machines) cut(a, b string) (mend func()) {
	m.neighbour(a, b, "replace", "lladdr", "02:00:00:00:00:01", "nud", "permanent")
	m.neighbour(b, a, "replace", "lladdr", "02:00:00:00:00:01", "nud", "permanent")
	return func() {
		m.neighbour(a, b, "delete")
		m.neighbour(b, a, "delete")
	}
}

// neighbour changes what a machine knows of another.
func (m *machines) neighbour(of, other, what string, more ...string) {
	args, dev := []string{"-n", m.prefix + of}, "eth0"
	if of == "" {
		args, dev = nil, fmt.Sprintf("ic%d", os.Getpid())
	}
	m.ip(append(append(args, "neighbour", what, m.address(other), "dev", dev), more...)...)
}

// mqttPort is where the broker of a cluster on machines is found.
const mqttPort = "1883"

// startClusterOnMachines starts a cluster with a machine for each of its members. The
// MQTT broker and the load balancer are here.
func startClusterOnMachines(t *testing.T, triggers int, gateways ...string) *cluster {
	t.Helper()
	names := []string{"nats-0", "nats-1", "nats-2"}
	for i := range triggers {
		names = append(names, fmt.Sprintf("trigger-%d", i))
	}
	for _, name := range gateways {
		names = append(names, "gateway-"+name)
	}
	m := newMachines(t, "10.209.18", names...)
	c := &cluster{t: t, machines: m, broker: startMosquitto(t, "listener "+mqttPort+" "+m.here())}
	c.start("../config/cluster/trigger.yaml", triggers, gateways)
	return c
}
