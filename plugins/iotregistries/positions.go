package iotregistries

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/iotcast/iotcast/internal/configtext"
	"github.com/iotcast/iotcast/internal/registry"
)

// Findings are what is wrong with the registries and brokers of a config, at the line of the one that is wrong: a lint rule of
// Benthos knows that of the list only. Where a variable is among them it finds nothing, and leaves it to the rule.
func Findings(text []byte) []configtext.Finding {
	var doc struct {
		Registries yaml.Node `yaml:"iot_registries"`
		Brokers    yaml.Node `yaml:"iot_brokers"`
	}
	if yaml.Unmarshal(text, &doc) != nil || variable(&doc.Registries) || variable(&doc.Brokers) {
		return nil
	}
	var all roll
	for _, node := range doc.Registries.Content {
		var r struct {
			registry.Registry
			Devices yaml.Node `json:"-" yaml:"devices"`
		}
		if read(node, &r.Registry) != nil || node.Decode(&r) != nil {
			return nil // of the wrong type, which another rule says
		}
		devices := r.Registry.Devices
		if len(devices) != len(r.Devices.Content) { // they stand elsewhere, behind an anchor
			return nil
		}
		r.Registry.Devices = nil
		all = append(all, entry{line: node.Line, id: r.ID, registry: &r.Registry})
		for i := range devices {
			all = append(all, entry{line: r.Devices.Content[i].Line, id: devices[i].ID, device: &devices[i]})
		}
	}
	for _, node := range doc.Brokers.Content {
		var b registry.Broker
		if read(node, &b) != nil {
			return nil
		}
		all = append(all, entry{line: node.Line, id: b.ID, broker: &b})
	}
	return all.wrong()
}

// roll is who there is, in the order of the config.
type roll []entry

// entry is one of the three.
type entry struct {
	line     int
	id       string
	registry *registry.Registry // without its devices, which follow
	device   *registry.Device
	broker   *registry.Broker
}

// wrong finds the first with whom the others before it do not go together. Somebody more does not mend what is wrong, so that it
// can be searched for by halves.
func (all roll) wrong() []configtext.Finding {
	check := func(n int) error {
		_, err := registry.New(all[:n].config())
		return err
	}
	if check(len(all)) == nil {
		return nil
	}
	n := sort.Search(len(all), func(i int) bool { return check(i+1) != nil })
	err := check(n + 1)
	text := err.Error()
	for _, other := range all[:n] {
		if errors.Is(err, registry.ErrTaken) && other.id == all[n].id {
			text += fmt.Sprintf(" (the other is in line %d)", other.line)
			break
		}
	}
	return []configtext.Finding{{Line: all[n].line, Text: text}}
}

func (all roll) config() (cfg registry.Config) {
	for _, e := range all {
		switch {
		case e.registry != nil:
			cfg.Registries = append(cfg.Registries, *e.registry)
		case e.device != nil:
			r := &cfg.Registries[len(cfg.Registries)-1]
			r.Devices = append(r.Devices, *e.device)
		default:
			cfg.Brokers = append(cfg.Brokers, *e.broker)
		}
	}
	return cfg
}

// read reads a node as the config is read.
func read(node *yaml.Node, into any) error {
	var value any
	if err := node.Decode(&value); err != nil {
		return err
	}
	return decode(value, into)
}

// variable reports whether there is one below a node.
func variable(node *yaml.Node) bool {
	if strings.Contains(node.Value, "${") {
		return true
	}
	for _, below := range node.Content {
		if variable(below) {
			return true
		}
	}
	return false
}
