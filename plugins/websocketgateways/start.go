package websocketgateways

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/token"
	"github.com/iotcast/iotcast/plugins/internal/logging"
)

// Start starts the gateways of the root config and hands them to its resources,
// where the outputs of all streams find them. The returned function closes them
// all, and with them every connection. The address of the process' own MQTT broker,
// or nothing, is for the viewer.
func Start(root *service.ParsedConfig, broker string) (func(), error) {
	res := root.Resources()
	log, metrics := logging.New(res.Logger()), newMetrics(res.Metrics())
	all, err := parse(root, log)
	if err != nil {
		return nil, err
	}
	var started []*gateway.Gateway
	closeAll := func(ctx context.Context) {
		gateway.NewSet(started...).Close(ctx)
		for _, p := range all {
			p.close(ctx)
		}
	}
	for _, p := range all {
		p.Broker = broker
		g, err := p.start(metrics, log)
		if err != nil {
			closeAll(context.Background())
			return nil, err
		}
		started = append(started, g)
	}
	set := gateway.NewSet(started...)
	res.SetGeneric(gateway.Key, set)
	stopMetrics := metrics.export(set)
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), longestDrain(all)+closeTimeout)
		defer cancel()
		closeAll(ctx)
		stopMetrics()
	}, nil
}

// closeTimeout is for the connections to take what is left and to say goodbye.
const closeTimeout = 6 * time.Second

// start begins to verify tokens, and to listen.
func (p *parsed) start(metrics *metrics, log *slog.Logger) (*gateway.Gateway, error) {
	for _, v := range p.verifiers() {
		if err := v.Start(log.With("gateway", p.Label)); err != nil {
			return nil, fmt.Errorf("%s %q: %s: %w", fieldGateways, p.Label, fieldTokens, err)
		}
	}
	if p.Bindings.Len() == 0 {
		log.Info("No access_bindings: every stream of this process may broadcast, whatever its service_account_id", "gateway", p.Label)
	}
	return gateway.Start(p.Config, metrics.observe, log)
}

// verifiers are those of all routes, each once.
func (p *parsed) verifiers() map[*gateway.Tokens]*token.Verifier {
	all := map[*gateway.Tokens]*token.Verifier{}
	for _, r := range p.Routes {
		if r.Tokens != nil {
			all[r.Tokens] = r.Tokens.Verifier
		}
	}
	return all
}

// close ends what the gateway needed.
func (p *parsed) close(ctx context.Context) {
	for _, v := range p.verifiers() {
		v.Close()
	}
	for _, proc := range p.processors {
		_ = proc.Close(ctx)
	}
}
