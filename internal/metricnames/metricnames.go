// Package metricnames knows which names of metrics a config may not have.
//
// Connect's prometheus panics over a processor metric whose name is taken by
// another type of metric, or whose labels it cannot have. It does so with its lock
// held, when the stream is made: in a request the API hangs from then on, in the
// watcher of a config the process ends.
package metricnames

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// Names are those that processor metrics of the process have made, each with its
// type. Prometheus never forgets one.
type Names struct {
	labels []string // that Benthos adds

	mu   sync.Mutex
	made map[string]string
}

// New is for a process that runs one stream, or, in streams mode, many.
func New(streams bool) *Names {
	n := &Names{labels: []string{"label", "path"}, made: map[string]string{}}
	if streams {
		n.labels = append(n.labels, "stream")
	}
	return n
}

// own are the names of Benthos and iotcast, which may have no value yet.
var own = regexp.MustCompile(`^(websocket_|connection_api_|management_api_|envelope_log_|iot_mqtt_|mqtt_broker_|iotcast_|` +
	`(input|output|processor|buffer|batch|cache|rate_limit)_(received|sent|error|latency_ns|connection_(up|failed|lost)|` +
	`batch_(received|sent)|created|rejected|duplicate|not_found|success|checked|triggered)$)`)

var label = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// Learn adds the names of a config that runs.
func (n *Names) Learn(config *yaml.Node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, one := range metricsOf(config) {
		n.made[one.name] = one.kind
	}
}

// Take adds the names of configs that are about to run, or says which is taken.
// Exposed are the metrics of the process, as Prometheus reads them.
func (n *Names) Take(exposed []byte, configs ...*yaml.Node) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	values := map[string]bool{} // the names that have some
	for line := range strings.Lines(string(exposed)) {
		if fields := strings.Fields(line); len(fields) == 4 && fields[1] == "TYPE" {
			values[fields[2]] = true
		}
	}
	wanted := map[string]string{}
	for _, config := range configs {
		for _, one := range metricsOf(config) {
			kind, made := n.made[one.name]
			if !made {
				kind, made = wanted[one.name]
			}
			switch {
			case made && kind != one.kind:
				return fmt.Errorf("metric %q: the name is taken by a %s of another stream, or of one that has run before: give it another", one.name, kind)
			case !made && (own.MatchString(one.name) || values[one.name]):
				return fmt.Errorf("metric %q: the name is taken by a metric of the process: give it another", one.name)
			}
			for _, name := range one.labels {
				if slices.Contains(n.labels, name) || !label.MatchString(name) {
					return fmt.Errorf("metric %q: the label %q is taken or no name for a label: give it another", one.name, name)
				}
			}
			wanted[one.name] = one.kind
		}
	}
	maps.Copy(n.made, wanted)
	return nil
}

// In reports whether a config has a processor metric.
func In(config *yaml.Node) bool { return len(metricsOf(config)) > 0 }

// metric is what a processor metric makes.
type metric struct {
	name, kind string
	labels     []string
}

// metricsOf finds the processors metric, wherever they are.
func metricsOf(node *yaml.Node) (found []metric) {
	if node.Kind == yaml.MappingNode {
		for i := 0; i < len(node.Content); i += 2 {
			if node.Content[i].Value != "metric" {
				continue
			}
			var config struct {
				Name, Type string
				Labels     map[string]any
			}
			if node.Content[i+1].Decode(&config) == nil && config.Name != "" {
				one := metric{name: config.Name, kind: strings.TrimSuffix(config.Type, "_by")}
				for name := range config.Labels {
					one.labels = append(one.labels, name)
				}
				found = append(found, one)
			}
		}
	}
	for _, child := range node.Content {
		found = append(found, metricsOf(child)...)
	}
	return found
}
