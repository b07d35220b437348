package configtext

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// Together finds components of a config that do not go together: an output that
// names a gateway or a path that is not there, and what costs the order of
// envelopes, and users of a broker that lets in others only. What depends on a variable is not known, and not judged. A config
// without gateways is a stream of a process that may have some.
func Together(text []byte) (all []Finding) {
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 {
		return nil
	}
	root := doc.Content[0]
	gateways := get(root, "websocket_gateways")
	each(root, "websocket_broadcast", func(output *yaml.Node) {
		if reason := missing(gateways, get(output, "gateway"), get(output, "path")); reason != "" {
			all = append(all, Finding{output.Line, reason})
		}
	})
	if users := get(get(root, "mqtt_broker"), "users"); listed(users) && !off(get(root, "mqtt_broker")) &&
		(listed(get(root, "iot_registries")) || listed(get(root, "iot_brokers"))) {
		all = append(all, Finding{users.Line, "mqtt_broker.users and iot_registries or iot_brokers are both set: with registries or brokers, only these log in, so remove the users"})
	}
	pipeline := get(root, "pipeline")
	threads := get(pipeline, "threads")
	if threads != nil && (threads.Value == "1" || !known(threads)) {
		return all
	}
	each(get(root, "input"), "strict_order", func(strict *yaml.Node) {
		if strict.Value == "true" && threads != nil {
			all = append(all, Finding{threads.Line, "strict_order of the input hands out one batch after the other: set pipeline.threads to 1, more threads have nothing to do"})
		}
	})
	each(get(pipeline, "processors"), "iot_trigger", func(*yaml.Node) {
		each(get(root, "output"), "broker", func(broker *yaml.Node) {
			if batching := get(broker, "batching"); batching != nil && len(batching.Content) > 0 {
				all = append(all, Finding{batching.Line, "an output that batches behind iot_trigger costs the order of the envelopes in several threads: " +
					"gather with batching of the input instead, or set pipeline.threads to 1"})
			}
		})
	})
	return all
}

// missing says that the gateway or the path is none of the gateways', if that is
// known.
func missing(gateways, label, path *yaml.Node) string {
	if gateways == nil || gateways.Kind != yaml.SequenceNode || len(gateways.Content) == 0 || !known(label) {
		return ""
	}
	var labels, paths []string
	for _, g := range gateways.Content {
		of := get(g, "label")
		if !known(of) {
			return ""
		}
		labels = append(labels, of.Value)
		routes := get(g, "routes")
		if of.Value != label.Value || routes == nil {
			continue
		}
		for _, r := range routes.Content {
			at := get(r, "path")
			if !known(at) {
				return ""
			}
			paths = append(paths, at.Value)
		}
	}
	switch {
	case !slices.Contains(labels, label.Value):
		return fmt.Sprintf("gateway %q is none of the websocket_gateways of this config: there is %q", label.Value, labels)
	case len(paths) > 0 && known(path) && !slices.Contains(paths, path.Value):
		return fmt.Sprintf("path %q is no route of gateway %q: there is %q", path.Value, label.Value, paths)
	}
	return ""
}

// listed reports whether a list has something in it.
func listed(node *yaml.Node) bool {
	return node != nil && node.Kind == yaml.SequenceNode && len(node.Content) > 0
}

// off reports whether an MQTT broker may have no listener, and so not be there.
func off(broker *yaml.Node) bool {
	address := get(broker, "address")
	return address != nil && !known(address)
}

// known reports whether a value is written in the config, and not taken from a
// variable.
func known(node *yaml.Node) bool {
	return node != nil && node.Kind == yaml.ScalarNode && node.Value != "" && !strings.Contains(node.Value, "${")
}

// get is the value of a field, nil if it is not there.
func get(node *yaml.Node, name string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1]
		}
	}
	return nil
}

// each calls f for every field of a name below a node.
func each(node *yaml.Node, name string, f func(*yaml.Node)) {
	if node == nil {
		return
	}
	if found := get(node, name); found != nil {
		f(found)
	}
	for _, below := range node.Content {
		each(below, name, f)
	}
}
