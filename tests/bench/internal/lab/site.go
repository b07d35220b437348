package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/iotcast/iotcast/tests/bench/internal/peers"
)

// Site is a server with all that it needs, ready for clients.
type Site struct {
	*Process        // the server
	Address  string // for WebSockets
	Path     string
	Protocol string // for the swarm
	Topic    string // for the swarm's subscriptions
	Broker   string // where to publish
	Publish  string // the topic to publish to
	metrics  string // URL
}

const deviceTopic = "$devices/device/events"

// StartPeer starts any server but iotcast.
func (l *Lab) StartPeer(name string) (s *Site, err error) {
	s = &Site{Path: "/ws", Protocol: "envelope", Topic: deviceTopic, Publish: deviceTopic}
	if s.Address, err = freeAddress(); err != nil {
		return nil, err
	}
	if name == "mosquitto" {
		s.Path, s.Protocol = "/", "mqtt"
		if s.Broker, err = freeAddress(); err != nil {
			return nil, err
		}
		if s.Process, err = l.mosquitto(listener(s.Broker), listener(s.Address), "protocol websockets"); err != nil {
			return nil, err
		}
		if err := l.waitForPort(s.Process, s.Broker); err != nil {
			return nil, err
		}
		return s, l.waitForPort(s.Process, s.Address)
	}
	c := peers.Config{Name: name, WebSocket: s.Address, Topic: deviceTopic, Dir: l.file("store")}
	switch name {
	case "nats":
		s.Path, s.Protocol = "/", "nats"
		s.Publish, s.Topic = "devices/device/events", "devices.device.events"
		if c.MQTT, err = freeAddress(); err != nil {
			return nil, err
		}
		s.Broker = c.MQTT
	case "centrifuge": // for the storm only
	default:
		if s.Broker, err = l.startBroker(); err != nil {
			return nil, err
		}
		c.Broker = s.Broker
	}
	if s.Process, err = l.start(name, self(PartPeer, c)...); err != nil {
		return nil, err
	}
	if s.Broker == c.MQTT && c.MQTT != "" {
		if err := l.waitForPort(s.Process, c.MQTT); err != nil {
			return nil, err
		}
	}
	return s, l.waitForPort(s.Process, s.Address)
}

func (l *Lab) startBroker() (address string, err error) {
	if address, err = freeAddress(); err != nil {
		return "", err
	}
	p, err := l.mosquitto(listener(address))
	if err != nil {
		return "", err
	}
	return address, l.waitForPort(p, address)
}

// Map is a piece of iotcast's configuration.
type Map = map[string]any

// Options are what the rows change in iotcast's configuration.
type Options struct {
	Input   Map  // replaces iot_mqtt's fields, or the whole input if it has a key of another
	Gateway Map  // added to the gateway's fields
	Route   Map  // added to the route's fields
	Drop    bool // no gateway: the messages are dropped as they come
	Metrics bool // serve them over HTTP
	Secured bool // clients need a token, the output a role, and there are limits
}

// StartIotcast starts the program under test.
func (l *Lab) StartIotcast(o Options) (s *Site, err error) {
	s = &Site{Path: "/telemetry", Protocol: "envelope", Publish: deviceTopic}
	if s.Address, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.Broker, err = l.startBroker(); err != nil {
		return nil, err
	}
	config, ready := s.config(o), s.Address
	if o.Metrics {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		config["http"], config["metrics"] = Map{"address": address}, Map{"prometheus": Map{}}
		s.metrics, ready = "http://"+address+"/metrics", address
	}
	if o.Secured {
		s.Path += "?" + tokenParameter + "=" + token()
	}
	file, err := l.write(config)
	if err != nil {
		return nil, err
	}
	if s.Process, err = l.start("iotcast", l.iotcast, "run", file); err != nil {
		return nil, err
	}
	s.discard()
	return s, l.waitForPort(s.Process, ready)
}

// write writes a configuration to a file.
func (l *Lab) write(config Map) (file string, err error) {
	text, err := json.MarshalIndent(config, "", "  ") // JSON is YAML
	if err != nil {
		return "", err
	}
	file = l.file("yaml")
	return file, os.WriteFile(file, text, 0o600)
}

// Accepts reports whether iotcast finds nothing wrong with a configuration.
func (l *Lab) Accepts(o Options) bool {
	s := Site{Address: "127.0.0.1:1", Broker: "127.0.0.1:1", Path: "/telemetry"}
	file, err := l.write(s.config(o))
	if err != nil {
		return false
	}
	_, err = l.Run(l.iotcast, "lint", file)
	return err == nil
}

func (s *Site) config(o Options) Map {
	urls := []string{"tcp://" + s.Broker}
	input := Map{"iot_mqtt": merge(Map{
		"urls": urls, "registry_id": "bench", "topics": []string{"$devices/+/events"}, "qos": 0,
	}, o.Input)}
	if other, ok := o.Input["mqtt"].(Map); ok {
		input = Map{"mqtt": merge(Map{"urls": urls, "topics": []string{"$devices/+/events"}, "client_id": "bench"}, other)}
	}
	config := Map{
		"http":    Map{"enabled": false},
		"logger":  Map{"level": "WARN"},
		"metrics": Map{"none": Map{}},
		"input":   input,
	}
	if o.Drop {
		config["output"] = Map{"drop": Map{}}
		return config
	}
	gateway := merge(Map{"label": "bench", "address": s.Address, "routes": []Map{merge(Map{"path": s.Path}, o.Route)}}, o.Gateway)
	output := Map{"gateway": "bench", "path": s.Path}
	if o.Secured {
		secure(gateway, output)
	}
	config["websocket_gateways"] = []Map{gateway}
	config["pipeline"] = Map{"processors": []Map{{"iot_trigger": Map{}}}}
	config["output"] = Map{"websocket_broadcast": output}
	return config
}

func merge(to, from Map) Map {
	for k, v := range from {
		to[k] = v
	}
	return to
}

// Metric is the sum of all series of a name whose labels hold a text.
func (s *Site) Metric(name, labels string) (sum float64, err error) {
	answer, err := http.Get(s.metrics)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if base, rest, _ := strings.Cut(series, "{"); base != name || !strings.Contains(rest, labels) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum += n
	}
	return sum, nil
}
