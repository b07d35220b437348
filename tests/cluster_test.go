package tests

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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
	balancer string // host:port
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
	c.startNATS()
	for i := range triggers {
		m := c.member(fmt.Sprintf("trigger-%d", i), "run", "-r", "../resources/*.yaml", trigger)
		m.env = append(m.env, "MQTT_URL="+c.broker.url(), fmt.Sprintf("PARTITION=%d", i), fmt.Sprintf("PARTITIONS=%d", triggers))
		c.triggers = append(c.triggers, m)
		m.start()
	}
	for _, name := range gateways {
		m := c.member("gateway-"+name, "streams", "-o", "../config/cluster/gateway/root.yaml", "../config/cluster/gateway/streams")
		m.gateway, m.api = freeAddress(t), freeAddress(t)
		m.env = append(m.env, "NODE_ID="+name, "GATEWAY_ADDRESS="+m.gateway, "API_ADDRESS="+m.api, "DRAIN_PERIOD=1s")
		c.gateways = append(c.gateways, m)
		m.start()
	}
	for _, m := range append(c.triggers, c.gateways...) {
		m.waitReady()
	}
	c.startBalancer()
	return c
}

// member is an iotcast of the cluster, not yet started.
func (c *cluster) member(name string, args ...string) *member {
	m := &member{t: c.t, name: name, args: append([]string{binary}, args...), http: freeAddress(c.t)}
	m.ready = "http://" + m.http + "/ready"
	m.env = []string{"HTTP_ADDRESS=" + m.http, "NATS_URL=" + c.natsURL()}
	return m
}

func (c *cluster) startNATS() {
	c.t.Helper()
	dir := c.t.TempDir()
	config, err := filepath.Abs("../config/cluster/nats-server.conf")
	if err != nil {
		c.t.Fatal(err)
	}
	var routes []string
	for i := range 3 {
		monitor, route := freeAddress(c.t), freeAddress(c.t)
		_, port, _ := strings.Cut(monitor, ":")
		routes = append(routes, "nats://"+route)
		c.nats = append(c.nats, &member{
			t: c.t, name: fmt.Sprintf("nats-%d", i), gateway: freeAddress(c.t), ready: "http://" + monitor + "/healthz",
			args: []string{toolPath("nats-server"), "-c", config, "-m", port}, dir: dir, // it leaves files where it runs
			env: []string{"NATS_CLUSTER_ADDRESS=" + route, fmt.Sprintf("NATS_NAME=n%d", i), "NATS_STORE=" + filepath.Join(dir, fmt.Sprint(i))},
		})
	}
	for _, m := range c.nats {
		m.env = append(m.env, "NATS_ADDRESS="+m.gateway, "NATS_ROUTES=["+strings.Join(routes, ", ")+"]")
		m.start()
	}
	for _, m := range c.nats {
		m.waitReady()
	}
	stream := &member{t: c.t, name: "stream", args: []string{binary, "run", "../config/cluster/stream.yaml"}, env: []string{"NATS_URL=" + c.natsURL()}}
	stream.start()
	if code := stream.exitCode(2 * patience); code != 0 || !strings.Contains(stream.out.String(), `"num_replicas":3`) {
		c.t.Fatalf("the stream was not made: exit code %d\n%s", code, stream.out.tail())
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
