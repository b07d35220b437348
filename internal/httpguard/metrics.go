package httpguard

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// metrics knows the names of metrics that are taken. Connect's prometheus panics
// with its lock held over a name that is taken by another type of metric, or over
// labels that it cannot have, and hangs from then on.
type metrics struct {
	streams *streams

	mu   sync.Mutex
	made map[string]string // the type of each metric that a processor metric made; Prometheus never forgets one
}

func newMetrics(s *streams) *metrics { return &metrics{streams: s, made: map[string]string{}} }

// own are the names of Benthos and iotcast, which may have no value yet.
var own = regexp.MustCompile(`^(websocket_|connection_api_|iot_mqtt_|` +
	`(input|output|processor|buffer|batch|cache|rate_limit)_(received|sent|error|latency_ns|connection_(up|failed|lost)|` +
	`batch_(received|sent)|created|rejected|duplicate|not_found|success|checked|triggered)$)`)

var label = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// take refuses configs with metrics whose names are taken, and takes the names.
func (m *metrics) take(ctx context.Context, configs []*yaml.Node) error {
	var wanted []metric
	for _, config := range configs {
		wanted = append(wanted, metricsOf(config)...)
	}
	if len(wanted) == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.learn(ctx); err != nil {
		return err
	}
	exposed := m.exposed(ctx)
	add := map[string]string{}
	for _, one := range wanted {
		for _, name := range one.labels {
			if slices.Contains([]string{"stream", "label", "path"}, name) || !label.MatchString(name) {
				return fmt.Errorf("metric %q: the label %q is taken or no name for a label: give it another", one.name, name)
			}
		}
		kind, made := m.made[one.name]
		if !made {
			kind, made = add[one.name]
		}
		switch {
		case own.MatchString(one.name), !made && exposed[one.name]:
			return fmt.Errorf("metric %q: the name is taken by a metric of the process: give it another", one.name)
		case made && kind != one.kind:
			return fmt.Errorf("metric %q: the name is taken by a %s of another stream, or of one that has run before: give it another", one.name, kind)
		}
		add[one.name] = one.kind
	}
	for name, kind := range add {
		m.made[name] = kind
	}
	return nil
}

// learn adds the metrics of streams that have not come over HTTP.
func (m *metrics) learn(ctx context.Context) error {
	ids, err := m.streams.running(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		text, _ := m.streams.config(ctx, id)
		var config yaml.Node
		if yaml.Unmarshal(text, &config) != nil {
			continue
		}
		for _, one := range metricsOf(&config) {
			m.made[one.name] = one.kind
		}
	}
	return nil
}

// exposed are the names of the metrics that have values.
func (m *metrics) exposed(ctx context.Context) map[string]bool {
	all := map[string]bool{}
	answer := m.streams.call(ctx, http.MethodGet, "/metrics", "", nil)
	for line := range strings.Lines(answer.Body.String()) {
		if fields := strings.Fields(line); len(fields) == 4 && fields[1] == "TYPE" {
			all[fields[2]] = true
		}
	}
	return all
}

// metric is what a processor metric makes.
type metric struct {
	name, kind string
	labels     []string
}

// metricsOf finds the processors metric, wherever they are.
func metricsOf(n *yaml.Node) (found []metric) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			if n.Content[i].Value != "metric" {
				continue
			}
			var config struct {
				Name, Type string
				Labels     map[string]any
			}
			if n.Content[i+1].Decode(&config) == nil && config.Name != "" {
				one := metric{name: config.Name, kind: strings.TrimSuffix(config.Type, "_by")}
				for name := range config.Labels {
					one.labels = append(one.labels, name)
				}
				found = append(found, one)
			}
		}
	}
	for _, child := range n.Content {
		found = append(found, metricsOf(child)...)
	}
	return found
}
