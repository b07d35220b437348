package connectionapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/redpanda-data/benthos/v4/public/service"

	api "github.com/iotcast/iotcast/internal/connectionapi"
	"github.com/iotcast/iotcast/internal/gateway"
)

const fieldForward = "forward"

// metaNode tells the processors where to.
const metaNode = "node"

func forwardField() *service.ConfigField {
	return service.NewProcessorListField(fieldForward).
		Description("Processors that carry a request about a connection that another process holds to that process, and bring back its answer. The metadata `node` is the `node_id` with which the connection's ID begins. The content is what the processor `websocket_connection` takes there, and what it answers. With none, such a connection counts as not open; and so it does if the processors fail, as they must for a node that is down. Lists and broadcasts are about the connections of this process only.").
		Optional().
		Example([]any{map[string]any{"nats_request_reply": map[string]any{
			"urls": []any{"nats://localhost:4222"}, "subject": `iotcast.connections.${! metadata("node") }`, "timeout": "900ms",
		}}}).
		Advanced()
}

// directory is that of this process, or of all if requests are forwarded.
func directory(conf *service.ParsedConfig, set *gateway.Set, log *slog.Logger) (api.Directory, func(context.Context), error) {
	if !conf.Contains(fieldForward) {
		return api.Local(set), func(context.Context) {}, nil
	}
	list, err := conf.FieldProcessorList(fieldForward)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", fieldForward, err)
	}
	processors := forwarding(list)
	return api.Cluster(set, processors.forward, log), processors.close, nil
}

type forwarding []*service.OwnedProcessor

// forward is api.Forward.
func (f forwarding) forward(ctx context.Context, node string, request []byte) ([]byte, error) {
	m := service.NewMessageWithContext(ctx, request)
	m.MetaSetMut(metaNode, node)
	batches, err := service.ExecuteProcessors(ctx, f, service.MessageBatch{m})
	if err != nil {
		return nil, err
	}
	if len(batches) == 0 || len(batches[0]) == 0 {
		return nil, errors.New("the processors of forward have dropped the request")
	}
	answer := batches[0][0]
	if err := answer.GetError(); err != nil {
		return nil, err
	}
	return answer.AsBytes()
}

func (f forwarding) close(ctx context.Context) {
	for _, p := range f {
		_ = p.Close(ctx)
	}
}
