package websocketgateways

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/plugins/internal/logging"
)

// Gateways are those of a process. Its methods, and those of its changes, are for one
// caller at a time.
type Gateways struct {
	log     *slog.Logger
	metrics *metrics
	broker  string
	set     *gateway.Set
	host    host
	configs []gateway.Config // in force
	parts   map[string]*part // of these
	stop    func()           // the metrics
}

// Start starts the gateways of the root config and hands them to its resources,
// where the outputs of all streams find them. The address of the process' own MQTT
// broker, or nothing, is for the viewer.
func Start(root *service.ParsedConfig, broker string) (*Gateways, error) {
	res := root.Resources()
	g := &Gateways{log: logging.New(res.Logger()), metrics: newMetrics(res.Metrics()), broker: broker, set: gateway.NewSet()}
	var err error
	if g.host, err = hostOf(root); err != nil {
		return nil, err
	}
	change, err := g.prepare(root)
	if err != nil {
		return nil, err
	}
	change.Apply()
	res.SetGeneric(gateway.Key, g.set)
	g.stop = g.metrics.export(g.set)
	return g, nil
}

// Change is what a config makes of the gateways: it can be done, and is not yet.
type Change struct {
	*gateway.Change
	gateways *Gateways
	configs  []gateway.Config
	parts    map[string]*part
}

// Prepare reads the gateways of a config, makes what they need and binds their
// addresses. The change must be applied or discarded before the next is prepared.
func (g *Gateways) Prepare(config []byte) (*Change, error) {
	conf, err := g.host.parse(config)
	if err != nil {
		return nil, err
	}
	return g.prepare(conf)
}

// Route says which route there is not, nil if it is there.
func (g *Gateways) Route(label, path string) error {
	_, err := g.set.Route(label, path)
	return err
}

func (g *Gateways) prepare(conf *service.ParsedConfig) (*Change, error) {
	p := newParts(g.parts, g.log)
	configs, err := parse(conf, p)
	c := &Change{gateways: g, configs: configs, parts: p.made}
	if err == nil {
		for i := range configs {
			configs[i].Broker = g.broker
		}
		c.Change, err = g.set.Prepare(configs, g.metrics.observe, g.log)
	}
	if err != nil {
		closeWithout(context.Background(), p.made, g.parts)
		return nil, err
	}
	return c, nil
}

// Discard leaves the gateways as they are.
func (c *Change) Discard() {
	c.Change.Discard()
	closeWithout(context.Background(), c.parts, c.gateways.parts)
}

// Apply puts the change in force. What it does not have any more ends behind it.
func (c *Change) Apply() {
	g := c.gateways
	for _, cfg := range c.configs {
		if before, ok := g.set.Gateway(cfg.Label); cfg.Bindings.Len() == 0 && (!ok || before.Bindings().Len() > 0) {
			g.log.Info("No access_bindings: every stream of this process may broadcast, whatever its service_account_id", "gateway", cfg.Label)
		}
	}
	before := g.parts
	g.configs, g.parts = c.configs, c.parts
	c.Change.Apply(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		closeWithout(ctx, before, c.parts)
	})
}

// closeTimeout is for the connections to take what is left and to say goodbye.
const closeTimeout = 6 * time.Second

// Close closes all gateways, and with them every connection.
func (g *Gateways) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), longestDrain(g.configs)+closeTimeout)
	defer cancel()
	g.set.Close(ctx)
	closeWithout(ctx, g.parts, nil)
	g.stop()
}

// host reads configs as parts of the one that the process has started with: what is made
// of them has its resources, log and metrics. Benthos lends these to that config alone.
type host struct {
	conf *service.ParsedConfig
	held map[string]any // what conf holds
}

func hostOf(root *service.ParsedConfig) (h host, err error) {
	const own = "websocket_gateways_changed" // for a moment
	all, err := root.FieldAny()
	if err != nil {
		return h, err
	}
	fields, ok := all.(map[string]any)
	if !ok {
		return h, fmt.Errorf("the root config is a %T", all)
	}
	h.held = map[string]any{}
	fields[own] = h.held
	defer delete(fields, own)
	parts, err := root.FieldAnyMap()
	h.conf = parts[own]
	return h, err
}

// parse reads the gateways of a config. Those of the call before are not valid any more.
func (h host) parse(config []byte) (*service.ParsedConfig, error) {
	conf, err := service.NewConfigSpec().Field(Field()).ParseYAML(string(config), nil)
	if err != nil {
		return nil, err
	}
	if h.held[fieldGateways], err = conf.FieldAny(fieldGateways); err != nil {
		return nil, err
	}
	return h.conf, nil
}
