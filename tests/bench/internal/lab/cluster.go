package lab

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Cluster is config/cluster with one trigger, which makes an envelope of each message.
type Cluster struct {
	Site                         // its Process is the trigger
	NATS, Trigger, Gateways Tier // of the processes
}

// Tier is processes that do the same.
type Tier []*Process

// CPU is that of all of them, in seconds.
func (t Tier) CPU() (seconds float64, err error) {
	for _, p := range t {
		one, err := p.CPU()
		if err != nil {
			return 0, err
		}
		seconds += one.Seconds()
	}
	return seconds, nil
}

// StartCluster starts one, with so many gateways.
func (l *Lab) StartCluster(gateways int) (*Cluster, error) {
	c := &Cluster{Site: Site{Path: "/telemetry", Protocol: "envelope", Publish: deviceTopic}}
	var err error
	if c.Broker, err = l.startBroker(); err != nil {
		return nil, err
	}
	urls, err := l.startNATS(c)
	if err != nil {
		return nil, err
	}
	env := func(more ...string) []string { return append(more, "NATS_URL="+urls, "MQTT_URL=tcp://"+c.Broker) }
	free, err := freeAddresses(1 + 3*gateways)
	if err != nil {
		return nil, err
	}
	c.Process, err = l.startWith(env("HTTP_ADDRESS="+free[0]), "trigger", l.iotcast, "run",
		"-r", filepath.Join(l.Root, "resources/*.yaml"), "-s", "input.iot_mqtt.batching.count=1", l.config("trigger.yaml"))
	if err != nil {
		return nil, err
	}
	c.discard()
	c.Trigger = Tier{c.Process}
	var addresses []string
	for i := range gateways {
		node, address := fmt.Sprintf("g%d", i), free[1+3*i]
		p, err := l.startWith(env("NODE_ID="+node, "GATEWAY_ADDRESS="+address, "HTTP_ADDRESS="+free[2+3*i], "API_ADDRESS="+free[3+3*i]),
			"gateway "+node, l.iotcast, "streams", "-o", l.config("gateway/root.yaml"), l.config("gateway/streams"))
		if err != nil {
			return nil, err
		}
		p.discard()
		if err := l.waitForPort(p, address); err != nil {
			return nil, err
		}
		c.Gateways, addresses = append(c.Gateways, p), append(addresses, address)
	}
	c.Address = strings.Join(addresses, ",")
	return c, nil
}

// config is a file of config/cluster.
func (l *Lab) config(name string) string { return filepath.Join(l.Root, "config/cluster", name) }

// startNATS starts three servers, and returns where they are.
func (l *Lab) startNATS(c *Cluster) (urls string, err error) {
	program, err := exec.LookPath("nats-server")
	if err != nil {
		program = "/usr/sbin/nats-server" // not in everybody's PATH
	}
	const servers = 3
	free, err := freeAddresses(2 * servers)
	if err != nil {
		return "", err
	}
	clients, routes := free[:servers], free[servers:]
	for i, client := range clients {
		p, err := l.startWith([]string{
			fmt.Sprintf("NATS_NAME=n%d", i), "NATS_ADDRESS=" + client, "NATS_CLUSTER_ADDRESS=" + routes[i],
			"NATS_ROUTES=[nats://" + strings.Join(routes, ", nats://") + "]", "NATS_STORE=" + l.file("store"),
		}, "nats-server", program, "-c", l.config("nats-server.conf"))
		if err != nil {
			return "", err
		}
		c.NATS = append(c.NATS, p)
	}
	for i, client := range clients {
		if err := l.waitForPort(c.NATS[i], client); err != nil {
			return "", err
		}
	}
	return "nats://" + strings.Join(clients, ",nats://"), nil
}

func freeAddresses(n int) (all []string, err error) {
	for range n {
		one, err := freeAddress()
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}
