package connectionapi

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/connections"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/readiness"
)

const (
	fieldForward = "forward"
	fieldNodes   = "nodes"
)

// metaNode tells the processors where to.
const metaNode = "node"

func forwardField() *service.ConfigField {
	return service.NewProcessorListField(fieldForward).
		Description("Processors that carry a request about a connection that another process holds to that process, and bring back its answer. The metadata `node` is the `node_id` with which the connection's ID begins. The content is what the processor `websocket_connection` takes there, and what it answers. With none, such a connection counts as not open; and so it does if the processors fail, as they must for a node that is down. Processors that cannot be made, since what they connect to is away, are tried again each second, and made anew when NATS has closed their connection for good; `/ready` of `http.address` answers 503 meanwhile. Lists and broadcasts go to the nodes that `nodes` names.").
		Optional().
		Example([]any{map[string]any{"nats_request_reply": map[string]any{
			"urls": []any{"nats://localhost:4222"}, "subject": `iotcast.connections.${! metadata("node") }`, "timeout": "900ms",
		}}}).
		Advanced()
}

func nodesField() *service.ConfigField {
	return service.NewStringListField(fieldNodes).
		Description("The `node_id`s of all nodes, to which lists and broadcasts go, too: each is asked by the processors of `forward`, at the same time. One entry may hold several, with commas between. This process may be among them, so that the list can be the same everywhere. Nodes that do not answer are named in the answer, as `unreachable`. With none, lists and broadcasts are about the connections of this process.").
		Default([]any{}).
		Example([]any{"a", "b", "c"}).
		Advanced()
}

// directory is that of this process, or of all if requests are forwarded.
func directory(
	conf *service.ParsedConfig, set *gateway.Set, ready *readiness.Checks, log *slog.Logger,
) (connections.Directory, func(context.Context), error) {
	if !conf.Contains(fieldNodes) { // the schema does not have connection_api
		return connections.Local(set), func(context.Context) {}, nil
	}
	nodes, err := nodes(conf)
	if err != nil {
		return nil, nil, err
	}
	if !conf.Contains(fieldForward) {
		if len(nodes) > 0 {
			return nil, nil, fmt.Errorf("%s is set, and %s is not: it takes processors that carry requests to the nodes", fieldNodes, fieldForward)
		}
		return connections.Local(set), func(context.Context) {}, nil
	}
	f := newForwarding(func() ([]*service.OwnedProcessor, error) { return conf.FieldProcessorList(fieldForward) }, log)
	ready.Add(f.ready)
	return connections.Cluster(set, nodes, f.forward, log), f.close, nil
}

func nodes(conf *service.ParsedConfig) (all []string, err error) {
	entries, err := conf.FieldStringList(fieldNodes)
	for _, entry := range entries {
		for node := range strings.SplitSeq(entry, ",") {
			if node = strings.TrimSpace(node); node != "" {
				all = append(all, node)
			}
		}
	}
	return all, err
}
