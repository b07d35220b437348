package websocketgateways

import (
	"context"

	"github.com/redpanda-data/benthos/v4/public/service"

	"iotcast/internal/gateway"
	"iotcast/plugins/internal/logging"
)

// Start starts the gateways of the root config and hands them to its resources,
// where the outputs of all streams find them. The returned function closes them
// all, with 1001 to every connection.
func Start(root *service.ParsedConfig) (stop func(context.Context), err error) {
	configs, err := parse(root)
	if err != nil {
		return nil, err
	}
	res := root.Resources()
	metrics := newMetrics(res.Metrics())
	var started []*gateway.Gateway
	for _, cfg := range configs {
		g, err := gateway.Start(cfg, metrics, logging.New(res.Logger()))
		if err != nil {
			gateway.NewSet(started...).Close(context.Background())
			return nil, err
		}
		started = append(started, g)
	}
	set := gateway.NewSet(started...)
	res.SetGeneric(gateway.Key, set)
	stopMetrics := metrics.export(set)
	return func(ctx context.Context) {
		set.Close(ctx)
		stopMetrics()
	}, nil
}
