package tests

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// cluster is config/cluster on this machine: three NATS servers, triggers, gateways
// and a load balancer in front of them, each a process of its own.
type cluster struct {
	t        *testing.T
	broker   *broker
	nats     []*member
	triggers []*member
	gateways []*member
	balancer string    // host:port
	machines *machines // nil: all run on this one
	stores   []string  // directories of the NATS servers; nil: in the test's own
	env      []string  // of all processes
	config   string    // of the NATS servers; empty: config/cluster/nats-server.conf
}

// member is a process of the cluster, which can be started again as it was.
type member struct {
	*process
	t       *testing.T
	name    string
	args    []string
	dir     string // to run in; empty: here
	env     []string
	ready   string // URL that answers 200 when it serves; empty: it need not
	http    string // host:port
	gateway string // host:port
	api     string // host:port
}

// startCluster starts all of it and returns when it serves.
func startCluster(t *testing.T, triggers int, gateways ...string) *cluster {
	t.Helper()
	return startClusterWith(t, "../config/cluster/trigger.yaml", triggers, gateways...)
}

// startClusterWith does so with another configuration of the triggers.
func startClusterWith(t *testing.T, trigger string, triggers int, gateways ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, broker: startMosquitto(t)}
	c.start(trigger, triggers, gateways)
	return c
}

func (c *cluster) start(trigger string, triggers int, gateways []string) {
	c.t.Helper()
	c.startNATS()
	for i := range triggers {
		m := c.member(fmt.Sprintf("trigger-%d", i), "run", "-r", "../resources/*.yaml", trigger)
		m.env = append(m.env, "MQTT_URL="+c.mqttURL(), fmt.Sprintf("PARTITION=%d", i), fmt.Sprintf("PARTITIONS=%d", triggers))
		c.triggers = append(c.triggers, m)
		m.start()
	}
	for _, name := range gateways {
		c.gateways = append(c.gateways, c.startGateway(name, gateways...))
	}
	for _, m := range append(c.triggers, c.gateways...) {
		m.waitReady()
	}
	c.startBalancer()
}

// address is a free one of this machine, or a port of the member's own.
func (c *cluster) address(name, port string) string {
	if c.machines == nil {
		return freeAddress(c.t)
	}
	return c.machines.port(name, port)
}

func (c *cluster) on(name string, args []string) []string {
	if c.machines == nil {
		return args
	}
	return c.machines.on(name, args)
}

func (c *cluster) mqttURL() string {
	if c.machines == nil {
		return c.broker.url()
	}
	return "tcp://" + c.machines.port("", mqttPort)
}

// startGateway starts one of the gateways of the cluster.
func (c *cluster) startGateway(name string, all ...string) *member {
	c.t.Helper()
	m := c.member("gateway-"+name, "streams", "-o", "../config/cluster/gateway/root.yaml", "../config/cluster/gateway/streams")
	m.gateway, m.api = c.address(m.name, "8080"), freeAddress(c.t)
	m.env = append(m.env, "NODE_ID="+name, "NODES="+strings.Join(all, ","),
		"GATEWAY_ADDRESS="+m.gateway, "API_ADDRESS="+m.api, "DRAIN_PERIOD=1s")
	m.start()
	return m
}

// member is an iotcast of the cluster, not yet started.
func (c *cluster) member(name string, args ...string) *member {
	m := &member{t: c.t, name: name, args: c.on(name, append([]string{binary}, args...)), http: c.address(name, "4195")}
	m.ready = "http://" + m.http + "/ready"
	m.env = append(slices.Clone(c.env), "HTTP_ADDRESS="+m.http, "NATS_URL="+c.natsURL())
	if c.machines != nil { // others reach it
		m.env = append(m.env, "IOTCAST_API_USER=admin", "IOTCAST_API_PASSWORD=none-of-yours")
	}
	return m
}

func (c *cluster) startNATS() {
	c.t.Helper()
	dir := c.t.TempDir()
	config, err := filepath.Abs(cmp.Or(c.config, "../config/cluster/nats-server.conf"))
	if err != nil {
		c.t.Fatal(err)
	}
	var routes []string
	for i := range 3 {
		if len(c.stores) <= i {
			c.stores = append(c.stores, filepath.Join(dir, fmt.Sprint(i)))
		}
		name := fmt.Sprintf("nats-%d", i)
		monitor, route := c.address(name, "8222"), c.address(name, "6222")
		_, port, _ := strings.Cut(monitor, ":")
		routes = append(routes, "nats://"+route)
		c.nats = append(c.nats, &member{
			t: c.t, name: name, gateway: c.address(name, "4222"), ready: "http://" + monitor + "/healthz",
			args: c.on(name, []string{toolPath("nats-server"), "-c", config, "-m", port}), dir: dir, // it leaves files where it runs
			env: append(slices.Clone(c.env), "NATS_CLUSTER_ADDRESS="+route, fmt.Sprintf("NATS_NAME=n%d", i), "NATS_STORE="+c.stores[i]),
		})
	}
	for _, m := range c.nats {
		m.env = append(m.env, "NATS_ADDRESS="+m.gateway, "NATS_ROUTES=["+strings.Join(routes, ", ")+"]")
		m.start()
	}
	for _, m := range c.nats {
		m.waitReady()
	}
}

func (c *cluster) natsURL() string {
	var urls []string
	for _, m := range c.nats {
		urls = append(urls, "nats://"+m.gateway)
	}
	return strings.Join(urls, ",")
}

func (c *cluster) startBalancer() {
	c.t.Helper()
	c.balancer = freeAddress(c.t)
	m := &member{t: c.t, name: "haproxy", args: []string{toolPath("haproxy"), "-db", "-f", "../config/cluster/haproxy.cfg"}, env: []string{"LISTEN=" + c.balancer}}
	for i, name := range []string{"A", "B", "C"} {
		g := c.gateways[min(i, len(c.gateways)-1)]
		_, port, _ := strings.Cut(g.http, ":")
		m.env = append(m.env, "GATEWAY_"+name+"="+g.gateway, "HTTP_PORT_"+name+"="+port)
	}
	m.start()
}

func (m *member) start() {
	m.t.Helper()
	cmd := exec.Command(m.args[0], m.args[1:]...)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), m.env...)
	m.process = start(m.t, m.name, cmd)
}

func (m *member) waitReady() {
	m.t.Helper()
	eventuallyWithin(m.t, 3*patience, m.name+" is ready", func() bool {
		select {
		case <-m.done:
			m.t.Fatalf("%s has ended: %v\n%s", m.name, m.err, m.out.tail())
		default:
		}
		res, err := apiClient.Get(m.ready)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}
